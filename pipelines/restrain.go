package pipelines

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// restrain keeps this process to what the evaluation of a package may take, which starts with begin: it ends it with tooLong or
// tooBig beyond that, or as soon as a goroutine's stack, on which CUE recurs, takes a quarter of the memory.
func restrain() (begin func()) {
	debug.SetMaxStack(maxMemory / 4)
	debug.SetGCPercent(400)                 // it lives for a moment
	debug.SetMemoryLimit(maxMemory / 4 * 3) // and collects all the more where it comes close
	taken := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	var began atomic.Int64
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			metrics.Read(taken)
			switch {
			case taken[0].Value.Uint64()-taken[1].Value.Uint64() > maxMemory:
				os.Exit(tooBig)
			case processorTime()-time.Duration(began.Load()) > maxTime:
				os.Exit(tooLong)
			}
		}
	}()
	return func() { began.Store(int64(processorTime())) }
}

// processorTime is what this process has used of the processor; 0 where it is not known.
func processorTime() time.Duration {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
