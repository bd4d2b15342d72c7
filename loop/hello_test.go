package loop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"ringcast/loop/secure"
)

// helloOf is a hello as crypto/tls's client says it.
func helloOf(t testing.TB) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_ = tls.Client(theirs, trusting()).Handshake()
	}()
	buf := make([]byte, 16<<10)
	n, err := ours.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// waitFor waits for a condition.
func waitFor(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// boundHandshakes bounds the TLS handshakes that are under way on each loop.
func boundHandshakes(t *testing.T, s *Server, most int) {
	t.Helper()
	if err := s.Hub().each(within(t), func(s *shard) {
		b := *s.bounds
		b.tlsHandshakes = most * len(s.hub.shards)
		s.bounds = &b
	}); err != nil {
		t.Fatal(err)
	}
}

func TestHandshakesThatNeverFinishHurtNobody(t *testing.T) {
	const silent, most = 60, 10
	s := startServer(t, overTLS(Config{Loops: 2}))
	boundHandshakes(t, s, most)
	there, plain := dialTLS(t, s, nil), dial(t, s)
	there.join("g")
	plain.join("g")
	goroutines := runtime.NumGoroutine()
	hello := helloOf(t)
	for i := range silent {
		c := dialRaw(t, s)
		if i%3 == 0 {
			c.Write(hello[:100]) // a part of one costs no goroutine
		} else {
			c.Write(hello)
		}
	}
	total := func() LoopStats { return s.Hub().Snapshot().Total() }
	waitFor(t, "all places are taken", func() bool { return total().TLSRunning == 2*most })
	if n := runtime.NumGoroutine(); n > goroutines+2*most+5 {
		t.Errorf("goroutines: got %d, want %d for %d handshakes, and as many as before: %d", n, 2*most, silent, goroutines)
	}
	for n := range 10 {
		there.say(`{"cmd":"send_to_group","group_id":"g","message":"%d"}`, n)
		plain.want(string('0' + rune(n)))
		there.want(string('0' + rune(n)))
	}
	for range 5 { // who comes now waits until the oldest have given way, and is served
		p := dialTLS(t, s, nil)
		p.join("h")
	}
	if now := total(); now.TLSHandshakes["evicted"] == 0 || now.TLSRunning > 2*most || now.TLSHandshakes["ok"] != 6 {
		t.Errorf("got %v, %d running, want some evicted, at most %d running, and 6 that are done", now.TLSHandshakes, now.TLSRunning, 2*most)
	}
}

func TestATLSHandshakeThatIsLateIsEndedAndCounted(t *testing.T) {
	s := startServer(t, overTLS(Config{Loops: 1, Limits: Limits{HandshakeTimeout: time.Second}}))
	hello := helloOf(t)
	var all []net.Conn
	for _, part := range []int{0, 50, len(hello)} {
		c := dialRaw(t, s)
		c.Write(hello[:part])
		all = append(all, c)
	}
	for i, c := range all {
		if p, err := io.ReadAll(c); err != nil || i < 2 && len(p) > 0 {
			t.Errorf("connection %d: got %d bytes (%v), want the end", i, len(p), err)
		}
	}
	half := tls.Client(dialRaw(t, s), trusting()) // TLS is done, and no request comes
	if answer, err := io.ReadAll(half); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408") {
		t.Errorf("without a request: got %q (%v), want 408", answer, err)
	}
	total := s.Hub().Snapshot().Total()
	if total.TLSHandshakes["late"] != 3 || total.TLSHandshakes["ok"] != 1 || total.Handshakes["timeout"] != 4 {
		t.Errorf("got TLS handshakes %v, handshakes %v, want 3 late, one ok, and 4 of timeout", total.TLSHandshakes, total.Handshakes)
	}
	waitFor(t, "nothing is left of them", func() bool {
		now := s.Hub().Snapshot().Total()
		return now.TLSRunning == 0 && now.FragmentBytes == 0
	})
}

func TestAHandshakeThatFailsIsToldByAnAlertAndCounted(t *testing.T) {
	s := startServer(t, overTLS(Config{Loops: 1}))
	for name, change := range map[string]func(*tls.Config){
		"an old version":   func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
		"another protocol": func(c *tls.Config) { c.NextProtos = []string{"h2"} },
	} {
		config := trusting()
		change(config)
		err := tls.Client(dialRaw(t, s), config).Handshake()
		if err == nil || !strings.Contains(err.Error(), "remote error: tls") {
			t.Errorf("%s: got %v, want an alert", name, err)
		}
	}
	waitFor(t, "both are counted", func() bool { return s.Hub().Snapshot().Total().TLSHandshakes["failed"] == 2 })
}

func TestAnIdleClientOverTLSHasNoGoroutine(t *testing.T) {
	s := startServer(t, overTLS(Config{Loops: 2}))
	dialTLS(t, s, nil).join("g")
	before := runtime.NumGoroutine()
	for range 50 {
		dialTLS(t, s, nil).join("g")
	}
	waitFor(t, "there are as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
}

func TestASlowClientOverTLSIsClosedOrMissesMessages(t *testing.T) {
	for _, policy := range []SlowClient{SlowClose, SlowDrop} {
		s := startServer(t, overTLS(Config{Loops: 1, Limits: Limits{OutboxBytesMax: 64 << 10, SlowClient: policy}}))
		slow, healthy, plain := dialTLS(t, s, nil), dialTLS(t, s, nil), dial(t, s)
		for _, p := range []*peer{slow, healthy, plain} {
			p.join("g")
		}
		text := strings.Repeat("x", 8<<10)
		total := func() LoopStats { return s.Hub().Snapshot().Total() }
		rounds := 0
		for ; rounds < 100_000 && total().SlowClosed+total().SlowDropped == 0; rounds++ {
			plain.say(`{"cmd":"send_to_group","group_id":"g","message":%q}`, text)
			healthy.want(text)
			plain.want(text)
		}
		if n := total().OutboxBytes; n > 80<<10 {
			t.Errorf("policy %d: %d bytes wait, want at most the bound and a record", policy, n)
		}
		heard, missed := 0, 0
		for {
			op, m, err := slow.next()
			if op == 8 && strings.HasPrefix(m, "\x0f\xa8") && policy == SlowClose { // 4008
				break
			}
			if err != nil {
				t.Fatalf("policy %d: behind %d messages of %d: %v", policy, heard, rounds, err)
			}
			if heard++; m == text {
				continue
			}
			heard--
			if missed++; policy == SlowDrop && strings.Contains(m, `"gap"`) {
				break
			}
		}
		if heard == 0 || heard >= rounds {
			t.Errorf("policy %d: heard %d of %d, want some", policy, heard, rounds)
		}
	}
}

// comeTLS connects a client of a stage over the TLS of the simulation, and ends its handshake.
func (st *stage) comeTLS(t *testing.T, wrap func(*simCipher) cipher) (*stageConn, *simTLS) {
	t.Helper()
	c := st.come(0, "192.0.2.1")
	c.client.overTLS()
	c.shard.env.secure = func(hello []byte, tell func()) cipher {
		return wrap((&world{t: t}).secure(hello, tell).(*simCipher))
	}
	c.send(simHello)
	st.settle()
	if string(c.out) != simFlight {
		t.Fatalf("a hello is answered with %q", c.out)
	}
	return c, &simTLS{}
}

func TestWhoSendsTooMuchBeforeItsTLSHandshakeIsDoneIsCut(t *testing.T) {
	st := newStage(1, nil)
	c, _ := st.comeTLS(t, func(c *simCipher) cipher { return c })
	for range earlyBytesMax / 1024 {
		c.send(strings.Repeat("x", 1024))
	}
	if c.closed {
		t.Error("at the bound: it is cut, want it to be there")
	}
	c.send("x")
	st.settle()
	if total := st.hub.Snapshot().Total(); !c.closed || total.TLSHandshakes["failed"] != 1 || total.FragmentBytes != 0 || total.TLSRunning != 0 {
		t.Errorf("beyond it: cut %v, TLS handshakes %v, %d bytes of partial input, %d running; want it cut and counted, and nothing left", c.closed, total.TLSHandshakes, total.FragmentBytes, total.TLSRunning)
	}
}

// changer answers each record.
type changer struct{ *simCipher }

func (c changer) Open(k *secure.Kit, p []byte) (plain, rest []byte, err error) {
	if plain, rest, err = c.simCipher.Open(k, p); err == nil {
		k.Out = append(k.Out, make([]byte, 1000)...)
	}
	return plain, rest, err
}

func TestWhoTakesNoAnswersToItsChangesOfKeysIsCut(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.OutboxBytesMax = 5000 })
	c, peer := st.comeTLS(t, func(c *simCipher) cipher { return changer{c} })
	c.send(simFinish)
	st.settle()
	c.stuck = true
	sent := 0
	for ; sent < 100 && !c.closed; sent++ {
		c.send(string(peer.seal(nil, []byte("\r\n"))))
	}
	if n := st.hub.Snapshot().Total().SlowClosed; sent != 6 || n != 1 {
		t.Errorf("cut behind %d changes, counted %d; want 6, and one slow client", sent, n)
	}
}

func TestAFailedHandshakeSaysWhatItMostlyMeans(t *testing.T) {
	for text, want := range map[string]string{
		"local error: tls: bad record MAC":                     "does not trust the certificate",
		"remote error: tls: unknown certificate authority":     "does not trust the certificate",
		"tls: no certificates configured":                      "ringcast status says why",
		"tls: client offered only unsupported versions: [302]": "",
	} {
		got := helloFailure(errors.New(text))
		if !strings.HasPrefix(got, text) || !strings.Contains(got, want) || want == "" && got != text {
			t.Errorf("%s: got %q, want it with %q", text, got, want)
		}
	}
}
