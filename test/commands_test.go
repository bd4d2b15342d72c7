package test

import (
	"fmt"
	"strings"
	"testing"
)

// Bounds on what one client may ask for, as options of the server.

func TestGroupNameMaxIsAnOption(t *testing.T) {
	t.Parallel()
	s := start(t, "--group-name-max", "8")
	c := member(t, s, "12345678")
	for _, command := range []string{joinCommand("123456789"), sendCommand("123456789", "x")} {
		c.expectError(t, command, "bad_group_id")
	}
	must(t, c.commands(joinCommand("123456789"))) // wrong, not refused: ignored
	must(t, c.text(sendCommand("12345678", "still here")))
	c.expect(t, "still here")
}

func TestGroupBoundsAreOptions(t *testing.T) {
	t.Parallel()
	s := start(t, "--client-groups-max", "2", "--groups-max", "4", "--members-max", "3", "--loops", "3")
	// Over several loops: connections go to them in turn.
	var members []*client
	for range 3 {
		members = append(members, member(t, s, "full"))
	}
	late, silent := dial(t, s), dial(t, s)
	late.expectError(t, joinCommand("full"), "group_full")
	must(t, silent.commands(joinCommand("full")))
	silent.expectClose(t, 1008)
	must(t, members[0].join("full")) // a member does not count twice
	must(t, members[0].join("a"))
	members[0].expectError(t, joinCommand("b"), "too_many_groups")
	must(t, members[1].join("b"))
	must(t, members[2].join("c"))
	late.expectError(t, joinCommand("d"), "groups_full")
	silent = dial(t, s)
	must(t, silent.commands(joinCommand("d")))
	silent.expectClose(t, 1013)
	must(t, late.join("a"))

	must(t, members[2].text(sendCommand("full", "for members")))
	for _, m := range members {
		m.expect(t, "for members")
	}
	late.expectNothing(t)
	must(t, members[0].leave("full"))
	must(t, late.join("full"))
	members[1].die()
	next := dial(t, s)
	s.eventually("the place of one that died is free", func() error { return next.join("full") })
	s.eventually("the refused are counted", func() error {
		by := s.status().Total.RefusedBy
		if by.GroupFull < 2 || by.GroupsFull != 2 || by.TooManyGroups != 1 {
			return fmt.Errorf("got %+v, want at least 2 by group_full, 2 by groups_full and 1 by too_many_groups", by)
		}
		return nil
	})
}

// All at once from all loops: no more get in than allowed.
func TestAsManyJoinAtOnceAsMay(t *testing.T) {
	t.Parallel()
	const clients, bound = 200, 50
	s := start(t, "--members-max", fmt.Sprint(bound))
	all := make([]*client, clients)
	for i := range all {
		all[i] = dial(t, s)
	}
	for _, c := range all { // three times in one write, which takes one place
		must(t, c.commands(withID("1", joinCommand("g")), withID("2", joinCommand("g")), withID("3", joinCommand("g"))))
	}
	in := 0
	for i, c := range all {
		var codes []string
		for id := 1; id <= 3; id++ {
			r, err := c.replyTo(fmt.Sprint(id))
			must(t, err)
			codes = append(codes, r.code())
		}
		switch strings.Join(codes, " ") {
		case "ok ok ok":
			in++
		case "group_full group_full group_full":
		default:
			t.Errorf("client %d: got %v, want the same answer three times", i, codes)
		}
	}
	equal(t, "clients that got in", in, bound)
	equal(t, "members", s.status().Total.Members, bound)
}

// A rate so low, and exceeded by so much, that nothing depends on the speed of the machine.
func TestCommandRateIsAnOption(t *testing.T) {
	t.Parallel()
	s := start(t, "--command-rate", "1")
	c := dial(t, s)
	var commands []string
	for id := range 50 {
		commands = append(commands, withID(fmt.Sprint(id), joinCommand("g")))
	}
	must(t, c.commands(commands...))
	codes := map[string]int{}
	for id := range 50 {
		r, err := c.replyTo(fmt.Sprint(id))
		must(t, err)
		codes[r.code()]++
	}
	if codes["ok"] == 0 || codes["rate_limited"] == 0 || len(codes) != 2 {
		t.Errorf("50 commands at once at 1 a second: got %v, want some ok and the others rate_limited", codes)
	}
	flood := dial(t, s)
	must(t, flood.commands(strings.Split(strings.Repeat(joinCommand("g")+"\n", 50)+joinCommand("g"), "\n")...))
	flood.expectClose(t, 1008)
	pings := dial(t, s)
	for range 50 {
		if pings.frame(0x9, true, "") != nil {
			break
		}
	}
	pings.expectClose(t, 1008)
}

func TestByteRateIsAnOption(t *testing.T) {
	t.Parallel()
	s := start(t, "--byte-rate", "1KiB")
	c := dial(t, s)
	must(t, c.join("g"))
	must(t, c.text(withID("1", sendCommand("g", strings.Repeat("x", 100<<10)))))
	c.expectClose(t, 1008)
	s.eventually("it is counted", func() error {
		if got := s.status().Total.RefusedBy.RateLimited; got != 1 {
			return fmt.Errorf("got %d refused by rate_limited, want 1", got)
		}
		return nil
	})
}
