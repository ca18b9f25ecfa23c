package pipelines

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// restrain keeps this process to what evaluation may take: it ends it with tooBig beyond that, or as soon as a goroutine's stack,
// on which CUE recurs, takes a quarter of it.
func restrain() {
	debug.SetMaxStack(maxMemory / 4)
	debug.SetGCPercent(400)                 // it lives for a moment
	debug.SetMemoryLimit(maxMemory / 4 * 3) // and collects all the more where it comes close
	taken := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			metrics.Read(taken)
			if taken[0].Value.Uint64()-taken[1].Value.Uint64() > maxMemory {
				os.Exit(tooBig)
			}
		}
	}()
}
