package main

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	_ "github.com/zeromicro/go-zero/zrpc" // registers p2c_ewma
	"google.golang.org/grpc/balancer"
	_ "google.golang.org/grpc/balancer/leastrequest"
	_ "google.golang.org/grpc/balancer/roundrobin"
	_ "google.golang.org/grpc/balancer/weightedroundrobin"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// Channel is what a balancer needs of a ClientConn. Callbacks into the balancer run one at a time, never from inside its
// own calls, as in grpc-go.
type channel struct {
	balancer.ClientConn // nil: only for the methods that no policy here calls
	mutex               sync.Mutex
	picker              balancer.Picker
	state               connectivity.State
	published           chan struct{}
	callbacks           chan func()
	ready               atomic.Int64 // subchannels
}

type subConn struct {
	balancer.SubConn // nil, as above
	channel          *channel
	listener         func(balancer.SubConnState)
	address          string
}

type noMetrics struct {
	stats.UnimplementedMetricsRecorder
}

func (c *channel) NewSubConn(addresses []resolver.Address, options balancer.NewSubConnOptions) (balancer.SubConn, error) {
	return &subConn{channel: c, listener: options.StateListener, address: addresses[0].Addr}, nil
}
func (c *channel) RemoveSubConn(balancer.SubConn)                       {}
func (c *channel) UpdateAddresses(balancer.SubConn, []resolver.Address) {}
func (c *channel) ResolveNow(resolver.ResolveNowOptions)                {}
func (c *channel) Target() string                                       { return "peers" }
func (c *channel) MetricsRecorder() stats.MetricsRecorder               { return noMetrics{} }

func (c *channel) UpdateState(state balancer.State) {
	c.mutex.Lock()
	c.picker, c.state = state.Picker, state.ConnectivityState
	c.mutex.Unlock()
	select {
	case c.published <- struct{}{}:
	default:
	}
}

func (s *subConn) Connect() {
	s.channel.callbacks <- func() { s.listener(balancer.SubConnState{ConnectivityState: connectivity.Connecting}) }
	s.channel.callbacks <- func() {
		s.listener(balancer.SubConnState{ConnectivityState: connectivity.Ready})
		s.channel.ready.Add(1)
	}
}
func (s *subConn) UpdateAddresses([]resolver.Address) {}
func (s *subConn) Shutdown()                          {}
func (s *subConn) RegisterHealthListener(listener func(balancer.SubConnState)) {
	s.channel.callbacks <- func() { listener(balancer.SubConnState{ConnectivityState: connectivity.Ready}) }
}
func (s *subConn) GetOrBuildProducer(balancer.ProducerBuilder) (balancer.Producer, func()) {
	return nil, func() {} // out-of-band reports are off
}

// Open a channel of the policy over n backends, and wait until all of them are in its picker.
func open(policy string, n int) (*channel, func()) {
	builder := balancer.Get(policy)
	if builder == nil {
		fail("%s is not registered", policy)
	}
	c := &channel{published: make(chan struct{}, 1), callbacks: make(chan func(), 8*n+64)}
	b := builder.Build(c, balancer.BuildOptions{})
	end := make(chan struct{})
	go func() {
		for {
			select {
			case callback := <-c.callbacks:
				callback()
			case <-end:
				return
			}
		}
	}()
	endpoints := make([]resolver.Endpoint, n)
	addresses := make([]resolver.Address, n)
	for i := range endpoints {
		addresses[i] = resolver.Address{Addr: fmt.Sprintf("10.%d.%d.%d:1", i>>16&255, i>>8&255, i&255)}
		endpoints[i].Addresses = []resolver.Address{addresses[i]}
	}
	state := balancer.ClientConnState{ResolverState: resolver.State{Addresses: addresses, Endpoints: endpoints}}
	if parser, ok := builder.(balancer.ConfigParser); ok {
		state.BalancerConfig = parse(parser, policy)
	}
	if err := callOn(c, func() error { return b.UpdateClientConnState(state) }); err != nil {
		fail("%s: %v", policy, err)
	}
	waitForAll(c, policy, n)
	return c, func() {
		_ = callOn(c, func() error { b.Close(); return nil })
		close(end)
	}
}

func parse(parser balancer.ConfigParser, policy string) serviceconfig.LoadBalancingConfig {
	text := "{}"
	if policy == "weighted_round_robin" {
		text = `{"blackoutPeriod":"0s","weightUpdatePeriod":"0.1s"}`
	}
	config, err := parser.ParseConfig(json.RawMessage(text))
	if err != nil {
		fail("%s: %v", policy, err)
	}
	return config
}

// Run a function of the balancer where its callbacks run, as grpc-go does.
func callOn(c *channel, call func() error) error {
	result := make(chan error, 1)
	c.callbacks <- func() { result <- call() }
	return <-result
}

func (c *channel) current() (balancer.Picker, connectivity.State) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.picker, c.state
}

// Wait until the picker gives out n backends. Policies draw at random, so look until all have been seen.
func waitForAll(c *channel, policy string, n int) {
	deadline := time.Now().Add(300 * time.Second) // grpc-go builds a picker per backend that connects
	for time.Now().Before(deadline) {
		picker, state := c.current()
		if picker != nil && state == connectivity.Ready && c.ready.Load() == int64(n) && len(c.callbacks) == 0 {
			seen := map[string]bool{}
			for i := 0; i < 40*n+1000 && len(seen) < n; i++ {
				result, err := picker.Pick(balancer.PickInfo{FullMethodName: method, Ctx: background})
				if err != nil {
					break
				}
				seen[result.SubConn.(*subConn).address] = true
				end(result, policy)
			}
			if len(seen) == n {
				return
			}
		}
		select {
		case <-c.published:
		case <-time.After(10 * time.Millisecond):
		}
	}
	fail("%s: not all of %d backends are picked", policy, n)
}
