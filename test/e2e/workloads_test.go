package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// restricted is what the pods of a restricted namespace must say.
const (
	restrictedPod = `securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}`
	restricted    = `securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}`
)

// Credentials of the S3 server.
const (
	accessKey = "weir-e2e"
	secretKey = "only-for-tests"
)

// credentials are a Secret as spec.sink.delta.storage.credentialsSecret names it.
const credentials = `apiVersion: v1
kind: Secret
metadata: {name: store}
stringData: {AWS_ACCESS_KEY_ID: ` + accessKey + `, AWS_SECRET_ACCESS_KEY: ` + secretKey + `}
`

// store runs an S3 server in a pod, behind the service store, and puts its credentials into the Secret store.
func (c *cluster) store(t *testing.T, namespace string) {
	t.Helper()
	c.apply(t, namespace, credentials+`---
apiVersion: v1
kind: Service
metadata: {name: store}
spec:
  selector: {e2e: store}
  ports: [{name: s3, port: 9000}]
---
apiVersion: v1
kind: Pod
metadata: {name: store, labels: {e2e: store}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 2
  `+restrictedPod+`
  containers:
    - name: s3
      image: `+image("s3server:1")+`
      imagePullPolicy: IfNotPresent
      args: [--listen, ":9000", --bucket, tables, --access-key, `+accessKey+`, --secret-key, `+secretKey+`]
      ports: [{name: s3, containerPort: 9000}]
      readinessProbe: {httpGet: {path: /_ready, port: s3}, periodSeconds: 1}
      `+restricted+`
`)
	c.kubectl(t, "-n", namespace, "wait", "--for=condition=Ready", "pod/store", "--timeout=60s")
}

// send starts a pod that sends events: `weir send` of the image, in which lies flights.ndjson.gz.
func (c *cluster) send(t *testing.T, namespace, name string, args ...string) {
	t.Helper()
	quoted, err := json.Marshal(append([]string{"send", "/flights.ndjson.gz", "-o", "json"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	c.apply(t, namespace, fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {e2e: sender}}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 2
  %s
  containers:
    - name: send
      image: %s
      imagePullPolicy: IfNotPresent
      args: %s
      %s
`, name, restrictedPod, image("sender:1"), quoted, restricted))
}

// report is what weir send says at its end.
type report struct {
	Records  int64   `json:"records"`
	Accepted int64   `json:"accepted"`
	Rejected int64   `json:"rejected"`
	Unacked  int64   `json:"unacked"`
	Seconds  float64 `json:"seconds"`
}

// awaitSender waits for the end of a sender, which must have got everything acknowledged.
func (c *cluster) awaitSender(t *testing.T, namespace, name string, limit time.Duration) report {
	t.Helper()
	await(t, limit, "the end of sender "+name, func() (bool, string) {
		phase := c.kubectl(t, "-n", namespace, "get", "pod", name, "-o", "jsonpath={.status.phase}")
		if phase == "Failed" {
			t.Fatalf("sender %s failed:\n%s", name, c.kubectl(t, "-n", namespace, "logs", name, "--tail=50"))
		}
		return phase == "Succeeded", phase
	})
	lines := strings.Split(strings.TrimSpace(c.kubectl(t, "-n", namespace, "logs", name)), "\n")
	var r report
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		t.Fatalf("report of sender %s: %v in %q", name, err, lines[len(lines)-1])
	}
	return r
}

// comparison is what flights.py says of a table.
type comparison struct {
	Events   int64 `json:"events"`
	Rows     int64 `json:"rows"`
	Distinct int64 `json:"distinct"`
	Missing  int64 `json:"missing"`
	Foreign  int64 `json:"foreign"`
	Version  int64 `json:"version"`
	Files    int64 `json:"files"`
}

// compare reads a table with deltalake and compares it with the events.
func (c *cluster) compare(t *testing.T, namespace, uri string) comparison {
	t.Helper()
	endpoint := "http://" + c.forward(t, namespace, "service/store", 9000)
	cmd := exec.CommandContext(t.Context(), os.Getenv("WEIR_PYTHON"), "test/e2e/flights.py", "compare", c.data("flights.ndjson.gz"), uri, endpoint)
	cmd.Dir = c.root
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got comparison
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return got
}
