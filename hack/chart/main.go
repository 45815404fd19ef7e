// Command chart makes the generated files of the Helm chart: values.schema.json from values.yaml, and the copy of the
// CustomResourceDefinition that the chart installs.
//
//	chart charts/weir config/crd/bases/weir.dev_pipelines.yaml
//
// The schema is closed: a key that values.yaml does not have is refused. A key's type is that of its default and its
// description the comment above it; a comment line "@schema" adds JSON Schema keywords as a YAML flow mapping.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: chart CHART CRD")
		os.Exit(2)
	}
	if err := generate(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func generate(chart, crd string) error {
	values, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return err
	}
	schema, err := valuesSchema(values)
	if err != nil {
		return fmt.Errorf("values.yaml: %w", err)
	}
	definition, err := os.ReadFile(crd)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		filepath.Join(chart, "values.schema.json"):        schema,
		filepath.Join(chart, "files", filepath.Base(crd)): definition,
	}
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
