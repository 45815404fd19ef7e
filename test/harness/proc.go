package harness

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used of the machine.
type Usage struct {
	CPU  time.Duration // user and system, in ticks of 10 ms
	RSS  int64         // bytes resident now
	Peak int64         // the most bytes that were resident
}

// ReadUsage reads the usage of a living process from /proc.
func ReadUsage(pid int) (Usage, error) {
	var u Usage
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("usage: %w", err)
	}
	// The second field is the name in parentheses; utime and stime are the 14th and 15th.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return u, fmt.Errorf("usage: /proc/%d/stat has %d fields", pid, len(fields))
	}
	for _, field := range []string{fields[utime], fields[stime]} {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return u, fmt.Errorf("usage: %w", err)
		}
		u.CPU += time.Duration(ticks) * (time.Second / 100)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, fmt.Errorf("usage: %w", err)
	}
	u.RSS, u.Peak = kilobytes(string(status), "VmRSS:"), kilobytes(string(status), "VmHWM:")
	return u, nil
}

// kilobytes returns the bytes that a line of /proc/PID/status gives in kB.
func kilobytes(status, name string) int64 {
	_, rest, _ := strings.Cut(status, name)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}
