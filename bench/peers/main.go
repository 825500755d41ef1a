// Peers measures other systems on this machine, so that evener is compared with them in one run: the pickers of grpc-go's
// policies and of go-zero's p2c, and grpc-go's client.
//
//	peers [-quick] [-output FILE] [-server PROGRAM]
//
// It writes JSON for bench_report: "peers_here" (the columns of the table "Compared with other systems": best/median in
// nanoseconds) and, with -server (a demo_server), "peers_calls". The policies come from their public registries, on
// a ClientConn without connections, whose subchannels are READY as soon as they are asked to connect. A pick is the
// picker's Pick(), its end the Done() that it returned.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"time"

	"github.com/zeromicro/go-zero/core/logx"
	"google.golang.org/grpc"
)

// Figure is the passes of one measurement, in nanoseconds per operation of all goroutines together.
type figure []float64

func (f figure) String() string {
	if len(f) == 0 {
		return ""
	}
	sorted := append(figure(nil), f...)
	sort.Float64s(sorted)
	return digits(sorted[0]) + "/" + digits(sorted[len(sorted)/2])
}

func digits(ns float64) string {
	if ns < 10 {
		return fmt.Sprintf("%.1f", ns)
	}
	return fmt.Sprintf("%.0f", ns)
}

type settings struct {
	passes      int
	duration    time.Duration
	backendsMax int
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "peers: "+format+"\n", arguments...)
	os.Exit(1)
}

// Return the version of a module that this program was built with.
func version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return dependency.Version
		}
	}
	return "?"
}

func main() {
	quick := flag.Bool("quick", false, "fewer passes")
	output := flag.String("output", "", "file for the JSON; otherwise standard output")
	server := flag.String("server", "", "demo_server; without it no calls are measured")
	backendsMax := flag.Int("backends-max", 10000, "leave out columns with more backends")
	only := flag.String("policy", "", "only this policy, by its name in grpc-go's registry")
	flag.Parse()
	logx.Disable() // p2c logs the load of every backend once per minute
	set := settings{passes: 15, duration: 50 * time.Millisecond}
	if *quick {
		set = settings{passes: 3, duration: 20 * time.Millisecond}
	}
	set.backendsMax = *backendsMax
	grpcVersion, zeroVersion := grpc.Version, version("github.com/zeromicro/go-zero")
	rows := []map[string]string{}
	for _, peer := range []struct{ system, policy string }{
		{"go-zero " + zeroVersion + " `p2c_ewma`", "p2c_ewma"},
		{"grpc-go " + grpcVersion + " `least_request`", "least_request_experimental"},
		{"grpc-go " + grpcVersion + " `weighted_round_robin`", "weighted_round_robin"},
		{"grpc-go " + grpcVersion + " `round_robin`", "round_robin"},
	} {
		if *only != "" && *only != peer.policy {
			continue
		}
		rows = append(rows, measurePolicy(peer.system, peer.policy, set))
		fmt.Fprintln(os.Stderr, rows[len(rows)-1])
	}
	result := map[string]any{
		"peers_here":    rows,
		"peers_machine": map[string]any{"go": runtime.Version(), "processors": runtime.NumCPU()},
	}
	if *server != "" {
		result["peers_calls"] = measureCalls(*server, "grpc-go "+grpcVersion, set)
	}
	text, err := json.MarshalIndent(result, "", " ")
	if err != nil {
		fail("%v", err)
	}
	if *output == "" {
		fmt.Println(string(text))
	} else if err := os.WriteFile(*output, append(text, '\n'), 0o644); err != nil {
		fail("%v", err)
	}
}
