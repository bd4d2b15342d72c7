package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"
)

const (
	// flightsMax bounds what may wait for an acknowledgement, and is a power of two: a flight is found by its number modulo this.
	flightsMax = 1 << 18
	// ackPatience is how long the last acknowledgements may take.
	ackPatience = 15 * time.Second
	latencyMax  = int64(time.Minute)
)

// publishing is one job. The sender is the goroutine of publish; acks come on a goroutine of the connection.
type publishing struct {
	flights [flightsMax]atomic.Int64 // by number: when it was due, and 0 when it is answered
	begun   time.Time
	acked   atomic.Uint64
	refused atomic.Uint64
	lastAt  atomic.Int64
	room    chan struct{} // closed loop: an acknowledgement has come

	mu     sync.Mutex // of what follows: an acknowledgement may come after the job has given up
	ack    *hdrhistogram.Histogram
	waited int64
}

// publish does a job. It is the only one at a time.
func (n *node) publish(j Job) Result {
	p := &publishing{begun: time.Now(), room: make(chan struct{}, 1), ack: histogram()}
	lateness := histogram()
	inbox := nats.NewInbox()
	read := n.seen.Load()
	sub, err := n.conn.Subscribe(inbox+".*", func(m *nats.Msg) { p.take(m, len(inbox)+1) })
	if err != nil {
		return Result{Error: err.Error()}
	}
	defer sub.Unsubscribe() //nolint:errcheck // the process ends soon
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return Result{Error: err.Error()}
	}
	subjects := make([]string, max(j.Groups, 1))
	for g := range subjects {
		subjects[g] = fmt.Sprintf("c.%d.n%d", g%n.partitions, g)
	}
	payload := bytes.Repeat([]byte("x"), j.Size)
	before := usage()

	runtime.LockOSThread() // it sleeps by nanosleep: the runtime's timers are good to a millisecond
	defer runtime.UnlockOSThread()
	sent := uint64(0)
	for {
		now := p.since()
		if now >= int64(j.Time) {
			break
		}
		due := now
		if j.Rate > 0 {
			if due = int64(float64(sent) * 1e9 / j.Rate); due > now {
				nap(due - now)
				continue
			}
			_ = lateness.RecordValue(min(now-due, latencyMax)) // within the bounds
		} else if sent-p.acked.Load()-p.refused.Load() >= uint64(j.Window) {
			select {
			case <-p.room:
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		if !p.flights[sent%flightsMax].CompareAndSwap(0, due+1) {
			nap(int64(100 * time.Microsecond)) // so many are in flight that the numbers are used up
			continue
		}
		m := &nats.Msg{Subject: subjects[(uint64(j.First)+sent)%uint64(len(subjects))], Reply: inbox + "." + strconv.FormatUint(sent, 36), Data: payload}
		if err := n.conn.PublishMsg(m); err != nil {
			return Result{Error: err.Error()}
		}
		sent++
	}
	for deadline := time.Now().Add(ackPatience); p.acked.Load()+p.refused.Load() < sent && time.Now().Before(deadline); {
		nap(int64(time.Millisecond))
	}
	used := usage()
	_ = sub.Unsubscribe()
	p.mu.Lock()
	defer p.mu.Unlock()
	took := max(int64(j.Time), p.lastAt.Load())
	return Result{Sent: sent, Acked: p.acked.Load(), Refused: p.refused.Load(), Lost: sent - p.acked.Load() - p.refused.Load(), Read: n.seen.Load() - read,
		Ack: encoded(p.ack), Lateness: encoded(lateness), Seconds: time.Duration(took).Seconds(), User: used.user - before.user, System: used.system - before.system,
		RSS: rss(), Waited: p.waited}
}

func (p *publishing) since() int64 { return int64(time.Since(p.begun)) }

// take notes an acknowledgement, of which there is one goroutine.
func (p *publishing) take(m *nats.Msg, at int) {
	number, err := strconv.ParseUint(m.Subject[at:], 36, 64)
	if err != nil {
		return
	}
	due := p.flights[number%flightsMax].Swap(0) - 1
	if due < 0 {
		return
	}
	now := p.since()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waited = max(p.waited, now-due)
	if bytes.Contains(m.Data, []byte(`"error"`)) || len(m.Data) == 0 { // nobody was there, or it was refused
		p.refused.Add(1)
	} else {
		_ = p.ack.RecordValue(min(now-due, latencyMax)) // within the bounds
		p.lastAt.Store(now)
		p.acked.Add(1)
	}
	select {
	case p.room <- struct{}{}:
	default:
	}
}

func histogram() *hdrhistogram.Histogram { return hdrhistogram.New(1000, latencyMax, 3) }

func encoded(h *hdrhistogram.Histogram) string {
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return ""
	}
	return string(text)
}

func nap(ns int64) {
	ts := unix.NsecToTimespec(min(ns, int64(5*time.Millisecond)))
	_ = unix.Nanosleep(&ts, nil) // an interrupted sleep is looked at again
}

type cpu struct{ user, system time.Duration }

func usage() cpu {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return cpu{}
	}
	return cpu{time.Duration(r.Utime.Nano()), time.Duration(r.Stime.Nano())}
}

func rss() int64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64) // 0: not known
	return pages * int64(os.Getpagesize())
}
