package main

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"ringcast/bench/client"
)

// share is the part of the clients that one process holds. The first process, which the operator started, keeps publishers
// and bystanders, so that one process and one clock paces a load; its helpers hold members only.
type share struct {
	processes int
	process   int   // this one: 0 is the operator's
	holders   []int // by client: the process that has it
}

// processesFlag is for the verbs that can spread their clients over processes.
type processesFlag struct {
	Processes int `placeholder:"N" help:"Processes that hold the clients. Default: as few as the limit of open files allows."`
}

const (
	processesMax = 32 // each has a generator at least; with 20,000 files each that is 640,000 clients
	// helperDescriptors are what a helper costs the operator's process: three pipes and the handle of the process.
	helperDescriptors = 4
)

// crowding is what decides which process holds which clients: the first `members` of them join groups, round robin. The
// first `publishing` of them have to stay in the operator's process, and so do all after the members.
type crowding struct{ clients, members, groups, publishing int }

func (l *load) crowding() crowding {
	d := crowding{l.clients(), l.Members, l.Groups, 0}
	if l.MemberPublishers {
		d.publishing = l.Publishers
	}
	return d
}

func (v *crowd) crowding() crowding { return crowding{v.Clients, v.Clients, v.Groups, 0} }

func (d crowding) staying() int { return d.publishing + d.clients - d.members }

// share spreads the clients over processes: as many as were asked for, or as few as the limit allows.
func (c *common) share(d crowding) (share, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return share{}, fmt.Errorf("getrlimit: %w", err)
	}
	processes, err := d.processes(c.processes, limit.Max)
	if err != nil {
		return share{}, err
	}
	return d.share(processes, 0), nil
}

// processes is the number of processes for an asked one (0: as few as possible) and a limit of open files of each.
func (d crowding) processes(asked int, limit uint64) (int, error) {
	switch {
	case asked < 0 || asked > processesMax:
		return 0, fmt.Errorf("--processes must be 1 to %d", processesMax)
	case asked > 1 && d.members-d.publishing < asked-1:
		return 0, fmt.Errorf("--processes %d: there are only %d members that do not publish, and a helper without clients is of no use", asked, d.members-d.publishing)
	case asked > 0:
		return asked, nil // NeedDescriptors checks whether it fits
	}
	for n := 1; n <= processesMax; n++ {
		most := max((d.clients+n-1)/n, d.staying())
		if uint64(most+(n-1)*helperDescriptors+client.DescriptorReserve) <= limit {
			return n, nil
		}
	}
	if d.staying() > d.clients/2 {
		return 1, nil // NeedDescriptors refuses that, with a hint; more processes would not help publishers
	}
	return 0, fmt.Errorf("%d clients need %d file descriptors: more than %d processes with %d each have. Raise the hard limit "+
		"(as root: `ulimit -n`, or LimitNOFILE= / limits.conf)", d.clients, d.clients+client.DescriptorReserve, processesMax, limit)
}

// share distributes the clients evenly, group by group: except for one group at each border, a group's members are in one
// process, where they can all be compared.
func (d crowding) share(processes, process int) share {
	s := share{processes, process, make([]int, d.clients)}
	if processes == 1 {
		return s
	}
	free := d.members - d.publishing
	room := min(max(0, (d.clients+processes-1)/processes-d.staying()), free)
	dealt := 0
	for group := range d.groups {
		for n := group; n < d.members; n += d.groups {
			if n < d.publishing {
				continue
			}
			if dealt >= room {
				s.holders[n] = 1 + (dealt-room)*(processes-1)/(free-room)
			}
			dealt++
		}
	}
	return s
}

// clients is how many this process has.
func (s share) clients() (n int) {
	for _, holder := range s.holders {
		if holder == s.process {
			n++
		}
	}
	return n
}

// descriptors is what this process opens for clients and helpers.
func (s share) descriptors() int {
	if s.process > 0 {
		return s.clients()
	}
	return s.clients() + (s.processes-1)*helperDescriptors
}

// seats marks those of other processes.
func (s share) seats(all []client.Seat) []client.Seat {
	all = slices.Clone(all)
	for n, holder := range s.holders {
		if holder != s.process {
			all[n].Thread = client.Elsewhere
		}
	}
	return all
}
