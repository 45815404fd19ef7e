package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// Output runs cmd to its end and returns what it printed. The error has the end of its stderr.
func Output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w\n%s%s", cmd, err, tail(out), tail(stderr.Bytes()))
	}
	return out, nil
}

// LastJSON decodes the last line of a program's output into v.
func LastJSON(out []byte, v any) error {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	last := lines[len(lines)-1]
	if err := json.Unmarshal([]byte(last), v); err != nil {
		return fmt.Errorf("output %.200q: %w", last, err)
	}
	return nil
}

func tail(b []byte) []byte {
	const n = 4000
	if len(b) > n {
		b = b[len(b)-n:]
	}
	return b
}
