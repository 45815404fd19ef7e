package main

import (
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// startOn starts cmd, on one processor if pin is set: a child keeps the processors of the thread that starts it.
func startOn(cmd *exec.Cmd, cpu int, pin bool) error {
	if !pin {
		return cmd.Start()
	}
	runtime.LockOSThread() // and unlocked only with the processors it had
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("processor %d: %w (use -pin=false where there is only one)", cpu, err)
	}
	err := cmd.Start()
	if back := unix.SchedSetaffinity(0, &all); back != nil {
		return back
	}
	runtime.UnlockOSThread()
	return err
}
