package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

const servers = 3

// Codec passes bytes through: the echo method has no message type.
type codec struct{}

func (codec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (codec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append((*v.(*[]byte))[:0], data...)
	return nil
}
func (codec) Name() string { return "bytes" }

// Start demo_server on free ports. Return their addresses and the end of the program.
func startServers(program string) ([]string, func()) {
	arguments := []string{}
	for i := 0; i < servers; i++ {
		arguments = append(arguments, "0")
	}
	command := exec.Command(program, arguments...)
	output, err := command.StdoutPipe()
	if err != nil {
		fail("%v", err)
	}
	if err := command.Start(); err != nil {
		fail("%s: %v", program, err)
	}
	addresses := []string{}
	for lines := bufio.NewScanner(output); len(addresses) < servers; {
		if !lines.Scan() {
			fail("%s ended before it listened", program)
		}
		if address, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			addresses = append(addresses, address)
		}
	}
	return addresses, func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
	}
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail("getrusage: %v", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func callOnce(client *grpc.ClientConn, request []byte) time.Duration {
	var response []byte
	from := time.Now()
	if err := client.Invoke(background, method, request, &response, grpc.ForceCodec(codec{})); err != nil {
		fail("a call failed: %v", err)
	}
	if len(response) != len(request) {
		fail("an answer of %d bytes instead of %d", len(response), len(request))
	}
	return time.Since(from)
}

// Measure unary calls of 100 bytes with round_robin over demo servers on loopback, with 1 and 64 in flight.
func measureCalls(program, system string, set settings) []map[string]any {
	addresses, stop := startServers(program)
	defer stop()
	list := manual.NewBuilderWithScheme("peers")
	state := resolver.State{}
	for _, address := range addresses {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	list.InitialState(state)
	client, err := grpc.NewClient("peers:///demo", grpc.WithResolvers(list),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		fail("%v", err)
	}
	defer client.Close()
	request := make([]byte, 100)
	for i := 0; i < 1000; i++ {
		callOnce(client, request)
	}
	rows := []map[string]any{}
	for _, inFlight := range []int{1, 64} {
		calls := 400 * set.passes
		latencies := make([][]time.Duration, inFlight)
		var done sync.WaitGroup
		done.Add(inFlight)
		from, used := time.Now(), processorTime()
		for i := range latencies {
			go func(own *[]time.Duration) {
				defer done.Done()
				for n := 0; n < calls; n++ {
					*own = append(*own, callOnce(client, request))
				}
			}(&latencies[i])
		}
		done.Wait()
		wall, used := time.Since(from), processorTime()-used
		all := []time.Duration{}
		for _, own := range latencies {
			all = append(all, own...)
		}
		sort.Slice(all, func(a, b int) bool { return all[a] < all[b] })
		rows = append(rows, map[string]any{
			"system": system, "policy": "round_robin", "in_flight": inFlight, "payload_bytes": len(request),
			"calls_per_s":     float64(len(all)) / wall.Seconds(),
			"cpu_us_per_call": float64(used.Nanoseconds()) / 1000 / float64(len(all)),
			"p50_us":          float64(all[len(all)/2].Nanoseconds()) / 1000,
			"p99_us":          float64(all[len(all)*99/100].Nanoseconds()) / 1000,
		})
		fmt.Fprintln(os.Stderr, rows[len(rows)-1])
	}
	return rows
}
