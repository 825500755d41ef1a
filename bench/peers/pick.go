package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	orca "github.com/cncf/xds/go/xds/data/orca/v3"
	"google.golang.org/grpc/balancer"
)

const (
	method       = "/evener.demo.Echo/Unary"
	picksAtOnce  = 256
	picksPerLook = 256 // between two looks at the stop flag
)

var (
	background = context.Background()
	report     = &orca.OrcaLoadReport{ApplicationUtilization: 0.5, RpsFractional: 100}
)

// End a pick. With weighted_round_robin the servers have reported their load before the passes, otherwise the policy would
// be round_robin; in the passes no call brings a report, as in evener's bench.
func end(result balancer.PickResult, policy string) {
	if result.Done == nil {
		return
	}
	info := balancer.DoneInfo{BytesSent: true, BytesReceived: true}
	if policy == "weighted_round_robin" {
		info.ServerLoad = report
	}
	result.Done(info)
}

// Worker is one goroutine; padded, so that workers do not share cache lines.
type worker struct {
	operations atomic.Uint64
	running    time.Duration
	picking    time.Duration // of `running`; only with picks alone
	failed     error
	_          [64]byte
}

func (w *worker) runPickDone(picker balancer.Picker, policy string, stop *atomic.Bool) {
	for !stop.Load() {
		for i := 0; i < picksPerLook; i++ {
			result, err := picker.Pick(balancer.PickInfo{FullMethodName: method, Ctx: background})
			if err != nil {
				w.failed = err
				return
			}
			end(result, "")
		}
		w.operations.Add(picksPerLook)
	}
}

// Only the picks are timed; their ends follow in batches.
func (w *worker) runPick(picker balancer.Picker, policy string, stop *atomic.Bool) {
	var results [picksAtOnce]balancer.PickResult
	for !stop.Load() {
		from := time.Now()
		for i := range results {
			var err error
			results[i], err = picker.Pick(balancer.PickInfo{FullMethodName: method, Ctx: background})
			if err != nil {
				w.failed = err
				return
			}
		}
		w.picking += time.Since(from)
		for i := range results {
			end(results[i], "")
		}
		w.operations.Add(picksAtOnce)
	}
}

func operationsOf(workers []worker) uint64 {
	var operations uint64
	for i := range workers {
		operations += workers[i].operations.Load()
	}
	return operations
}

// Run one pass. Return the time of the clock on the wall per operation of all goroutines together, from when all have
// started until they are to stop; with picks alone the part of it that they took.
func pass(c *channel, policy string, threads int, withDone bool, duration time.Duration) float64 {
	picker, _ := c.current()
	workers := make([]worker, threads)
	var stop atomic.Bool
	var awake atomic.Int32
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(threads)
	done.Add(threads)
	for i := range workers {
		go func(w *worker) {
			defer done.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			<-start
			from := time.Now()
			awake.Add(1)
			if withDone {
				w.runPickDone(picker, policy, &stop)
			} else {
				w.runPick(picker, policy, &stop)
			}
			w.running = time.Since(from)
		}(&workers[i])
	}
	ready.Wait()
	close(start)
	for awake.Load() < int32(threads) {
		runtime.Gosched()
	}
	before, from := operationsOf(workers), time.Now()
	time.Sleep(duration)
	operations, taken := operationsOf(workers)-before, time.Since(from)
	stop.Store(true)
	done.Wait()
	var picking, running time.Duration
	for i := range workers {
		w := &workers[i]
		if w.failed != nil {
			fail("%s: a pick failed: %v", policy, w.failed)
		}
		picking += w.picking
		running += w.running
	}
	ns := float64(taken) / float64(operations)
	if !withDone {
		ns *= float64(picking) / float64(running)
	}
	return ns
}

func measurePolicy(system, policy string, set settings) map[string]string {
	row := map[string]string{"system": system}
	for _, column := range []struct {
		name              string
		backends, threads int
		withDone          bool
	}{
		{"pick, 10", 10, 1, false},
		{"pick + done, 10", 10, 1, true},
		{"pick + done, 10,000", 10000, 1, true},
		{"pick + done, 100, 2 threads", 100, 2, true},
	} {
		if column.backends > set.backendsMax {
			continue
		}
		c, closeChannel := open(policy, column.backends)
		if policy == "weighted_round_robin" {
			time.Sleep(300 * time.Millisecond) // so that the reported weights come into force
		}
		var f figure
		for i := 0; i < set.passes; i++ {
			f = append(f, pass(c, policy, column.threads, column.withDone, set.duration))
		}
		row[column.name] = fmt.Sprint(f)
		closeChannel()
	}
	return row
}
