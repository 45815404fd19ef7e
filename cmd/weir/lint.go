package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/api/strict"
	"github.com/weir-dev/weir/api/v1alpha1"
)

// finding is what weir lint says of one place of a file, or of a pipeline that is good.
type finding struct {
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Path     string `json:"path,omitempty"`
	Fault    string `json:"fault,omitempty"`    // what is wrong and what to do
	Pipeline string `json:"pipeline,omitempty"` // the name of a good one
	Note     string `json:"note,omitempty"`     // what could not be looked at
}

func newLintCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "lint FILE...", Short: "Check Pipeline files",
		Long: `Check Pipeline files as weir run reads them; - is the standard input. Every fault is printed as file:line:column, path, and
what to do. The exit code is 1 if there is one. A descriptor set or schema that pods have from a ConfigMap is checked if a
file is at its path here, too; if not, that is said.`,
		Example: `  weir lint pipeline.yaml
  weir lint -o json pipeline.yaml`,
		ValidArgsFunction: pipelineFiles(-1),
		Args: func(cmd *cobra.Command, args []string) error {
			return takes("FILE")(cmd, args[:min(len(args), 1)])
		},
	}
	view := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		v, good := view(cmd), true
		for _, file := range files {
			findings, err := lint(cmd, file)
			if err != nil {
				return err
			}
			for _, f := range findings {
				good = good && f.Fault == ""
				if err := v.finding(f); err != nil {
					return err
				}
			}
		}
		if !good {
			return &exitError{1}
		}
		return nil
	}
	return cmd
}

// lint reads a file. Its error is that the file cannot be read.
func lint(cmd *cobra.Command, file string) ([]finding, error) {
	var findings []finding
	pipelines, err := readChecked(file, cmd.InOrStdin(), checkHere(func(p *v1alpha1.Pipeline, m mounted) {
		findings = append(findings, finding{
			File: sourceName(file), Path: "spec.schema.format." + m.field, Pipeline: p.Name,
			Note: fmt.Sprintf("%s is not here, so the format is not checked: %s; put a copy at that path to check it", m.file, m.where()),
		})
	}))
	faults, ok := errors.AsType[strict.ErrorList](err)
	switch {
	case ok:
		for _, e := range faults {
			findings = append(findings, finding{
				File: e.Position.File, Line: e.Position.Line, Column: e.Position.Column, Path: e.Path, Fault: e.Message,
			})
		}
	case err != nil:
		return nil, err
	}
	for _, p := range pipelines {
		findings = append(findings, finding{File: sourceName(file), Pipeline: p.Name})
	}
	return findings, nil
}

func (v view) finding(f finding) (err error) {
	switch {
	case v.json:
		return v.encode(f)
	case f.Note != "":
		_, err = fmt.Fprintf(v.out, "%s: pipeline %s: %s: %s\n", f.File, f.Pipeline, f.Path, f.Note)
	case f.Fault == "":
		_, err = fmt.Fprintf(v.out, "%s: pipeline %s is good\n", f.File, f.Pipeline)
	default:
		at := strict.Position{File: f.File, Line: f.Line, Column: f.Column}
		_, err = fmt.Fprintln(v.out, &strict.Error{Position: at, Path: f.Path, Message: f.Fault})
	}
	return err
}

func newExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain PATH", Short: "Describe a field of the Pipeline",
		Example: `  weir explain pipeline.spec.sink
  weir explain pipeline.spec.flow.memory`,
		Args:              takes("PATH"),
		ValidArgsFunction: fieldPaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := strict.Explain(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
}
