package main

import (
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/weir-dev/weir/api/strict"
	"github.com/weir-dev/weir/api/v1alpha1"
)

// mounted is a file that pods of a Pipeline have from a ConfigMap.
type mounted struct {
	field     string // that names the file, below spec.schema.format
	file      string
	volume    int // of spec.template.volumes
	configMap string
	key       string // the file in the ConfigMap
}

// fromConfigMap finds the ConfigMap volume in which a file lies.
func fromConfigMap(p *v1alpha1.Pipeline, field, file string) (mounted, bool) {
	for i, v := range p.Spec.Template.Volumes {
		key, inside := strings.CutPrefix(path.Clean(file), path.Clean(v.MountPath)+"/")
		if v.ConfigMap != nil && inside {
			return mounted{field, file, i, v.ConfigMap.Name, key}, true
		}
	}
	return mounted{}, false
}

// where says where pods have the file from.
func (m mounted) where() string {
	return fmt.Sprintf("pods have it from the key %s of ConfigMap %s, which spec.template.volumes[%d] mounts", m.key, m.configMap, m.volume)
}

// explain adds to the error of reading a file what one should do if the file lies in a ConfigMap.
func explain(p *v1alpha1.Pipeline, field, file string, err error) error {
	if m, ok := fromConfigMap(p, field, file); ok && os.IsNotExist(err) {
		return fmt.Errorf("%w: %s; to run the pipeline here, put a copy at that path, or name a file of this machine", err, m.where())
	}
	return err
}

// absent are the files of the formats that pods have from ConfigMaps and this machine has not.
func absent(p *v1alpha1.Pipeline) []mounted {
	var all []mounted
	look := func(field, file string) {
		if m, ok := fromConfigMap(p, field, file); ok {
			if _, err := os.Stat(file); os.IsNotExist(err) {
				all = append(all, m)
			}
		}
	}
	f := &p.Spec.Schema.Format
	if f.Protobuf != nil {
		look("protobuf.file", f.Protobuf.File)
	}
	if f.Avro != nil {
		look("avro.file", f.Avro.File)
	}
	return all
}

// withoutFiles is p without the formats whose types are in files.
func withoutFiles(p *v1alpha1.Pipeline) *v1alpha1.Pipeline {
	p = p.DeepCopy()
	f := &p.Spec.Schema.Format
	if f.Protobuf != nil && f.Protobuf.File != "" {
		f.Protobuf = nil
	}
	if f.Avro != nil && f.Avro.File != "" {
		f.Avro = nil
	}
	return p
}

// checkInCluster is checkPipeline for an operator: files are those of the pods, which the operator has not, and must not
// look for in its own.
func checkInCluster(p *v1alpha1.Pipeline) []strict.Fault { return checkPipeline(withoutFiles(p)) }

// checkHere is checkPipeline for weir lint: files that only pods have are noted, not missed.
func checkHere(note func(p *v1alpha1.Pipeline, m mounted)) strict.Check {
	return func(p *v1alpha1.Pipeline) []strict.Fault {
		away := absent(p)
		for _, m := range away {
			note(p, m)
		}
		if len(away) > 0 {
			p = p.DeepCopy()
			for _, m := range away {
				if m.field == "protobuf.file" {
					p.Spec.Schema.Format.Protobuf = nil
				} else {
					p.Spec.Schema.Format.Avro = nil
				}
			}
		}
		return checkPipeline(p)
	}
}
