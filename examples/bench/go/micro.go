package main

import (
	"fmt"
	"math/rand"
	"net"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

type micro struct {
	bench        string
	n, us, apart int64
	samples      int
	outstanding  int
	secs         float64
	threads      int
}

// run prints one line of JSON. A measurement without a counterpart in Go is unsupported.
func (m *micro) run() {
	or := func(usual int64) int64 {
		if m.n == 0 {
			m.n = usual
		}
		return m.n
	}
	runtime.GOMAXPROCS(1)
	if strings.HasPrefix(m.bench, "mt_") {
		runtime.GOMAXPROCS(2)
	}
	switch m.bench {
	case "spawn_seq":
		m.sample(or(1_000_000), func(n int64) {
			done := make(chan struct{})
			for i := int64(0); i < n; i++ {
				go func() { done <- struct{}{} }()
				<-done
			}
		})
	case "spawn_batch":
		m.sample(or(1_000_000), func(n int64) { batches(n, 1000) })
	case "mt_spawn_many":
		m.sample(or(1_000_000), func(n int64) { batches(n, 10_000) })
	case "yield_many", "mt_yield_many":
		m.sample(or(1_000_000), yieldMany)
	case "mt_ping_pong":
		m.sample(or(200_000), pairs)
	case "mt_chained_spawn":
		m.sample(or(1_000_000), chains)
	case "storm":
		m.storm(or(1_000_000))
	case "timer_churn":
		m.churn(or(1_000_000))
	case "timer_fire":
		for i := 0; i < m.samples; i++ {
			m.fire(or(100_000))
		}
	case "sleep":
		m.sleep(or(500))
	case "periodic":
		m.periodic(or(1000))
	case "deadline_at", "deadline_after":
		m.deadline(or(1_000_000))
	default:
		fmt.Printf("{\"bench\":%q,\"unsupported\":1}\n", m.bench)
	}
}

// sample warms up and then returns the median of the samples.
func (m *micro) sample(n int64, body func(int64)) {
	if m.samples > 1 {
		body(n)
	}
	var taken []float64
	for i := 0; i < m.samples; i++ {
		began := time.Now()
		body(n)
		taken = append(taken, float64(time.Since(began).Nanoseconds())/float64(n))
	}
	sort.Float64s(taken)
	m.line("ns_per_op", taken[len(taken)/2], "min", taken[0], "max", taken[len(taken)-1], "ops", float64(n))
}

func (m *micro) line(fields ...any) {
	out := fmt.Sprintf("{\"bench\":%q", m.bench)
	for i := 0; i < len(fields); i += 2 {
		out += fmt.Sprintf(",%q:%.3f", fields[i], fields[i+1])
	}
	fmt.Println(out + "}")
}

func batches(n, size int64) {
	for i := int64(0); i < n/size; i++ {
		var all sync.WaitGroup
		all.Add(int(size))
		go func() {
			for j := int64(0); j < size; j++ {
				go all.Done()
			}
		}()
		all.Wait()
	}
}

func yieldMany(n int64) {
	var all sync.WaitGroup
	all.Add(200)
	for i := 0; i < 200; i++ {
		go func() {
			for j := int64(0); j < n/200; j++ {
				runtime.Gosched()
			}
			all.Done()
		}()
	}
	all.Wait()
}

func pairs(n int64) {
	for i := int64(0); i < n/1000; i++ {
		var all sync.WaitGroup
		all.Add(1000)
		for j := 0; j < 1000; j++ {
			go func() {
				ask, answer := make(chan struct{}, 1), make(chan struct{}, 1)
				go func() { <-ask; answer <- struct{}{} }()
				ask <- struct{}{}
				<-answer
				all.Done()
			}()
		}
		all.Wait()
	}
}

func chains(n int64) {
	var link func(left int, done chan struct{})
	link = func(left int, done chan struct{}) {
		if left == 0 {
			close(done)
		} else {
			go link(left-1, done)
		}
	}
	for i := int64(0); i < n/1000; i++ {
		done := make(chan struct{})
		go link(1000, done)
		<-done
	}
}

// storm starts n goroutines and waits for all of them, once.
func (m *micro) storm(n int64) {
	runtime.GOMAXPROCS(m.threads)
	var all sync.WaitGroup
	all.Add(int(n))
	before, switchesBefore, began := processorTime(), switches(), time.Now()
	for i := int64(0); i < n; i++ {
		go all.Done()
	}
	all.Wait()
	ops := float64(n)
	m.line("ns_per_op", float64(time.Since(began).Nanoseconds())/ops, "cpu_ns_per_op",
		float64(processorTime()-before)/ops, "switches_per_op", float64(switches()-switchesBefore)/ops, "ops", ops)
}

// churn arms a timer and cancels a random older one.
func (m *micro) churn(n int64) {
	rng := rand.New(rand.NewSource(7))
	arm := func() *time.Timer {
		return time.AfterFunc(time.Duration(1_000+rng.Int63n(59_999_000))*time.Microsecond, func() {})
	}
	live := make([]*time.Timer, m.outstanding)
	for i := range live {
		live[i] = arm()
	}
	m.sample(n, func(n int64) {
		for i := int64(0); i < n; i++ {
			place := rng.Intn(m.outstanding)
			fresh := arm()
			live[place].Stop()
			live[place] = fresh
		}
	})
}

// fire measures timers alone, without a connection beside them.
func (m *micro) fire(n int64) {
	before := processorTime()
	due := time.Now().Add(150*time.Millisecond + time.Duration(3*n)*time.Microsecond)
	late := make([]float64, n)
	var all sync.WaitGroup
	all.Add(int(n))
	for i := range late {
		go func(late *float64) {
			time.Sleep(time.Until(due))
			*late = float64(time.Since(due).Nanoseconds()) / 1e3
			all.Done()
		}(&late[i])
	}
	all.Wait()
	m.late(late, "cpu_ns_per_timer", float64(processorTime()-before)/float64(n))
}

func (m *micro) sleep(n int64) {
	if m.us == 0 {
		m.us = 50
	}
	before := processorTime()
	late := make([]float64, n)
	for i := range late {
		due := time.Now().Add(time.Duration(m.us) * time.Microsecond)
		time.Sleep(time.Duration(m.us) * time.Microsecond)
		late[i] = float64(time.Since(due).Nanoseconds()) / 1e3
	}
	m.late(late, "cpu_ns_per_sleep", float64(processorTime()-before)/float64(n))
}

// periodic lets timers tick with the same period, each with a phase of its own.
func (m *micro) periodic(n int64) {
	if m.us == 0 {
		m.us = 100_000
	}
	period := time.Duration(m.us) * time.Microsecond
	before, switchesBefore, began := processorTime(), switches(), time.Now()
	first := began.Add(20 * time.Millisecond)
	end := first.Add(time.Duration(m.secs * float64(time.Second)))
	late := make([][]float64, n)
	var all sync.WaitGroup
	all.Add(int(n))
	for i := range late {
		due := first.Add(time.Duration(int64(i)*m.apart%m.us) * time.Microsecond)
		go func(late *[]float64) {
			for ; due.Before(end); due = due.Add(period) {
				time.Sleep(time.Until(due))
				*late = append(*late, float64(time.Since(due).Nanoseconds())/1e3)
			}
			all.Done()
		}(&late[i])
	}
	all.Wait()
	spent, switched, seconds := float64(processorTime()-before), switches()-switchesBefore, time.Since(began).Seconds()
	var ticks []float64
	for _, some := range late {
		ticks = append(ticks, some...)
	}
	sort.Float64s(ticks)
	at := func(quantile float64) float64 { return ticks[int(float64(len(ticks)-1)*quantile)] }
	m.line("cpu_ns_per_tick", spent/float64(len(ticks)), "cpu_percent", spent/1e7/seconds,
		"switches_per_s", float64(switched)/seconds, "min_us", at(0), "p50_us", at(0.5), "p99_us", at(0.99),
		"ticks", float64(len(ticks)))
}

func (m *micro) late(late []float64, cost string, spent float64) {
	sort.Float64s(late)
	at := func(quantile float64) float64 { return late[int(float64(len(late)-1)*quantile)] }
	m.line("min_us", at(0), "p50_us", at(0.5), "p99_us", at(0.99), "max_us", at(1), cost, spent)
}

// deadline moves the deadline of one connection later, again and again.
func (m *micro) deadline(n int64) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err.Error())
	}
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		fail(err.Error())
	}
	m.sample(n, func(n int64) {
		for i := int64(0); i < n; i++ {
			conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		}
	})
}

// processorTime returns the processor time of all threads, in nanoseconds.
func processorTime() int64 {
	usage := used()
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// switches returns the number of times that a thread of the process gave its processor up or lost it.
func switches() int64 {
	usage := used()
	return usage.Nvcsw + usage.Nivcsw
}

func used() (usage syscall.Rusage) {
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err.Error())
	}
	return usage
}
