package main

import (
	"strings"
	"testing"
	"time"

	"ringcast/bench/check"
)

// slowArgs is a load that fills all buffers between the server and a member that does not read. Where it has to fill them, it is run as long
// as it takes: see again.
func slowArgs(t *testing.T, s *groupServer, more ...string) []string {
	return append([]string{"slow", "--url", s.serve(t), "--members", "4", "--slow", "3", "--size", "50000", "--time", "2s", "--no-ceiling"}, more...)
}

// slowTime is how long the loads here publish at first.
const slowTime = 2 * time.Second

// overflows is how often something did not go into an outbox.
func (s *groupServer) overflows() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beyond
}

func TestSlowMembersThatAreCutOffAreNoFaultAndTheirCloseCodeIsFound(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, dialect string) {
		again(t, slowTime, func(long time.Duration) bool {
			s := &groupServer{outbox: 20}
			status, out, errs, runs := benchRuns(t, 1, slowArgs(t, s, "--dialect", dialect, "--time", long.String(), patient)...)
			if status != exitFine || !runs[0].Fine {
				t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
			}
			r := runs[0]
			if r.Slow.Members != 3 || r.Slow.CutOff > s.overflows() || r.Slow.Skipped != 0 {
				t.Fatalf("got %+v, want no more than the %d of 3 that did not keep up cut off, and nothing skipped before\n%s", r.Slow, s.overflows(), out)
			}
			if s.overflows() < 3 {
				return false
			}
			if r.Slow.Members != 3 || r.Slow.CutOff != 3 || r.Slow.Ends[`closed by the server with 4008 "too slow"`] != 3 {
				t.Errorf("got %+v, want 3 cut off with 4008\n%s", r.Slow, out)
			}
			// One whose outbox was too short at the end of publishing reads its end after it.
			if r.Slow.CutAfter <= 0 || r.Slow.CutAfter > (long+patienceTime).Nanoseconds() {
				t.Errorf("got %+v, want an end within the %v of publishing and the patience", r.Slow, long)
			}
			if r.Slow.RSSPeak == 0 || r.Slow.RSSSettled == 0 || r.Fanout.Delivered == 0 || r.Flags["slow"] != 3.0 || r.Flags["window"] != 16.0 {
				t.Errorf("figures are missing: %+v, flags %v", r.Slow, r.Flags)
			}
			if !strings.Contains(out, "3 of 3 members that stopped reading were cut off") || !strings.Contains(out, "3 × closed by the server with 4008") {
				t.Errorf("how they ended is not printed:\n%s", out)
			}
			abandoned(t, s)
			return true
		})
	})
}

func TestASlowMembersResetIsSeenWhenItComes(t *testing.T) {
	t.Parallel()
	s := &groupServer{outbox: 1 << 16}
	s.spoil = func(m *groupMember, text string) []string {
		if m.place > 4 && m.heard == 2 { // the publisher is number 4
			m.conn.(interface{ SetLinger(int) error }).SetLinger(0)
			m.conn.Close()
		}
		return []string{text}
	}
	status, out, errs, runs := benchRuns(t, 1, slowArgs(t, s, patient)...)
	if x := runs[0].Slow; status != exitFine || x.CutOff != 3 || x.CutAfter <= 0 || x.CutAfter > (slowTime+patienceTime).Nanoseconds() {
		t.Fatalf("got status %d and %+v, want %d and 3 cut off\n%s%s", status, x, exitFine, out, errs)
	}
}

func TestAServerThatDropsMessagesToSlowMembersIsFoundOut(t *testing.T) {
	t.Parallel()
	again(t, slowTime, func(long time.Duration) bool {
		s := &groupServer{outbox: 20, drops: true}
		status, out, errs, runs := benchRuns(t, 1, slowArgs(t, s, "--time", long.String(), patient)...)
		if status != exitFine || runs[0].Slow.CutOff != 0 || s.overflows() == 0 && runs[0].Slow.Skipped > 0 {
			t.Fatalf("got status %d, %+v, want %d, none cut off and nothing skipped that the server did not drop\n%s%s", status, runs[0].Slow, exitFine, out, errs)
		}
		if s.overflows() == 0 {
			return false
		}
		if runs[0].Slow.Skipped == 0 {
			t.Fatalf("got status %d, %+v, want %d, none cut off and messages skipped\n%s%s", status, runs[0].Slow, exitFine, out, errs)
		}
		if !strings.Contains(out, "they were not given") {
			t.Errorf("that is not printed:\n%s", out)
		}
		return true
	})
}

func TestAServerThatKeepsEverythingForSlowMembersIsFine(t *testing.T) {
	t.Parallel()
	s := &groupServer{outbox: 1 << 16}
	status, out, errs, runs := benchRuns(t, 1, slowArgs(t, s, "--messages", "200", "--groups", "2", patient)...)
	if status != exitFine || runs[0].Slow.CutOff != 0 || runs[0].Slow.Skipped != 0 {
		t.Fatalf("got status %d, %+v, want %d, none cut off and nothing skipped\n%s%s", status, runs[0].Slow, exitFine, out, errs)
	}
}

func TestAServerThatWaitsForSlowMembersIsFaulty(t *testing.T) {
	t.Parallel()
	status, out, _, runs := benchRuns(t, 1, slowArgs(t, &groupServer{}, "--time", "1m")...) // it ends when the window stands still
	if status != exitFaulty || runs[0].Counts["lost"] == 0 {
		t.Fatalf("got status %d, faults %v\n%s", status, runs[0].Counts, out)
	}
}

func TestAServerThatCutsOffMembersThatKeepUpIsFaulty(t *testing.T) {
	t.Parallel()
	s := &groupServer{outbox: 20}
	s.spoil = func(m *groupMember, text string) []string {
		if m.place == 2 && m.heard == 50 {
			s.end(m)
		}
		return []string{text}
	}
	status, out, _, runs := benchRuns(t, 1, slowArgs(t, s, "--time", "1m", patience(check.Cut))...) // it ends with the member
	if status != exitFaulty || runs[0].Counts["cut off"] != 1 || !strings.Contains(runs[0].Examples["cut off"][0], "group 0 member 2 was cut off: closed by the server with 4008") {
		t.Fatalf("got status %d, faults %v\n%s", status, runs[0].Counts, out)
	}
}

func TestSlowMembersAreStillOwedUnalteredMessages(t *testing.T) {
	t.Parallel()
	s := &groupServer{outbox: 20}
	s.spoil = func(m *groupMember, text string) []string {
		if m.place > 4 && m.heard == 5 {
			return []string{text, text}
		}
		return []string{text}
	}
	status, out, _, runs := benchRuns(t, 1, slowArgs(t, s, patient)...)
	if status != exitFaulty || len(runs[0].Counts) != 1 || runs[0].Counts["doubled"] != 3 || !strings.HasPrefix(runs[0].Examples["doubled"][0], "slow member ") {
		t.Fatalf("got status %d, faults %v, want 3 doubled\n%s", status, runs[0].Counts, out)
	}
}
