package decode_test

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// reportCPU makes b report the processor time of its loop: unlike the time it took, that hardly depends on what else the
// machine does. The loop begins when reportCPU is called and ends when the returned function is.
func reportCPU(b *testing.B) (stop func()) {
	b.Helper()
	runtime.LockOSThread()
	before := threadTime(b)
	return func() {
		b.ReportMetric(float64(threadTime(b)-before)/float64(b.N), "cpu-ns/op")
		runtime.UnlockOSThread()
	}
}

func threadTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_THREAD, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
