{{- /* What the operator may do where its Pipelines are. test/e2e holds it against what
     the operator asks for: nothing is missing, and nothing is too much. */ -}}
{{- define "weir.rules" -}}
- apiGroups: [weir.dev]
  resources: [pipelines]
  verbs: [list, watch]
- apiGroups: [weir.dev]
  resources: [pipelines/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch, create, patch]
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{- define "weir.leaderRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update]
{{- end -}}
