// Command weir runs pipelines, sends events into them and looks at the tables they make.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is stamped by the build (-ldflags "-X main.version=..."); a plain build says where it came from.
var version = ""

func main() {
	os.Exit(runMain())
}

// runMain ends gracefully at the first signal and at once at the second.
func runMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:])
}

// exitError ends the process with a code of its own; its message was printed by the command.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.code
	}
	fmt.Fprintln(root.ErrOrStderr(), "weir:", err)
	return 1
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "weir takes events over RSocket and puts them into Delta Lake tables",
		Long: `weir regulates the flow into a lake: producers push events over RSocket, weir puts them into Delta Lake tables, and the
speed of the table governs every hop back to the producer.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	if filepath.Base(os.Args[0]) == "kubectl-weir" { // kubectl calls it for kubectl weir
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl weir"}
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(
		newRunCommand(), newIngestCommand(), newOperatorCommand(), newSendCommand(), newTapCommand(), newDemoCommand(),
		newInitCommand(), newLintCommand(), newTestCommand(), newSchemaCommand(), newExplainCommand(),
		newTableCommand(), newGetCommand(), newStatusCommand(), newInstallCommand(), newVersionCommand(),
	)
	return root
}

func newVersionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: takes(),
		Example: "  weir version\n  weir version -o json",
	}
	view := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := view(cmd)
		if v.json {
			return v.encode(struct {
				Version string `json:"version"`
				Go      string `json:"go"`
			}{buildVersion(), runtime.Version()})
		}
		_, err := fmt.Fprintln(v.out, "weir", buildVersion())
		return err
	}
	return cmd
}

// buildVersion is the stamped version, or the module's as Go records it.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
