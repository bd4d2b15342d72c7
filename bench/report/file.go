// Package report has the results of the bench: the types of a result file, and what is made from one or several of them:
// tables, CSV, pictures, and the verdict whether two differ by more than noise.
//
// The rule of this package: it only handles figures. Nothing in it opens a socket or starts a process, so that a file can be
// evaluated years later on another machine.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// Format is the version of the file's layout. A reader refuses any other version.
const Format = 1

// File is a result file: all runs of one command, in the order in which they took place.
type File struct {
	Format  int       `json:"format"`
	Command string    `json:"command"` // as it was typed, after `go run ./bench`
	Started time.Time `json:"started"`
	Machine Machine   `json:"machine"`
	Commit  string    `json:"commit,omitempty"` // of the tree that the bench was built from, "+changes" when it was not clean
	Runs    []*Run    `json:"runs"`
}

// Machine describes the machine; no figure may be quoted without it.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory uint64 `json:"memory_bytes"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Run is one load against one server, once.
type Run struct {
	Server  string         `json:"server"`         // "ringcast", "gws batch", "ceiling turn", or the URL
	Load    string         `json:"load,omitempty"` // its name in a comparison
	Round   int            `json:"round,omitempty"`
	Verb    string         `json:"verb"`
	Started time.Time      `json:"started"`
	Flags   map[string]any `json:"flags"` // every flag with its effective value

	Connect *Connect `json:"connect,omitempty"`
	Fanout  *Fanout  `json:"fanout,omitempty"`
	Churn   *Churn   `json:"churn,omitempty"`
	Slow    *Slow    `json:"slow,omitempty"`
	Resume  *Resume  `json:"resume,omitempty"`
	Post    *Post    `json:"post,omitempty"`
	Cluster *Cluster `json:"cluster,omitempty"`

	TLS        *TLS     `json:"tls,omitempty"`           // nil: clients did not speak it
	Memory     *Memory  `json:"server_memory,omitempty"` // nil: the server's processes could not be seen
	Threads    []Thread `json:"generator_threads,omitempty"`
	Limit      string   `json:"saturated,omitempty"`
	RateVoid   bool     `json:"rate_void"` // the generator was the limit: the rate is that of the generator
	ServerCore float64  `json:"server_cores,omitempty"`
	Busy       float64  `json:"machine_busy_share"`

	Verdict  string              `json:"verdict"`
	Fine     bool                `json:"fine"`
	Causes   map[string]int      `json:"failures_by_cause,omitempty"`
	Counts   map[string]uint64   `json:"faults,omitempty"`
	Examples map[string][]string `json:"fault_examples,omitempty"`
	Notes    []string            `json:"notes,omitempty"`
}

// TLS is what became of it, over all handshakes of the run.
type TLS struct {
	Version    string `json:"version"` // of the last handshake
	Handshakes uint64 `json:"handshakes"`
	Resumed    uint64 `json:"resumed_sessions"`
	Verified   bool   `json:"certificate_verified"`
}

// Connect is what the opening of clients cost.
type Connect struct {
	Asked          int     `json:"asked"`
	Joined         int64   `json:"joined"` // and still connected after the hold
	OpeningSeconds float64 `json:"opening_seconds"`
	PerSecond      float64 `json:"handshakes_per_second"`
	PingsAnswered  uint64  `json:"pings_answered"`
	ServerMicros   float64 `json:"server_us_per_handshake,omitempty"`
	PerCPUSecond   float64 `json:"handshakes_per_server_cpu_second,omitempty"`
}

// Memory is the server's memory before the clients connected and with them; for Churn, with the stable members before and
// after the short-lived clients, and nothing per client. Kernel socket buffers are not in it.
type Memory struct {
	RSSBefore    int64   `json:"rss_before_bytes"`
	RSSAfter     int64   `json:"rss_after_bytes"`
	RSSPerClient float64 `json:"rss_per_client_bytes"`
	// From a status socket, where the server has one.
	HeapBefore int64 `json:"heap_before_bytes,omitempty"`
	HeapAfter  int64 `json:"heap_after_bytes,omitempty"`
}

// Fanout is the result of publishing to groups. Times of latency are nanoseconds from the due time in an open loop, from
// the write in a closed one, to the read in which the message arrived.
type Fanout struct {
	Published    uint64  `json:"published"`
	Unsent       uint64  `json:"due_but_not_taken_by_the_server"`
	Delivered    uint64  `json:"delivered"`
	Seconds      float64 `json:"seconds"` // first due time to last delivery
	PublishedPer float64 `json:"published_per_second"`
	DeliveredPer float64 `json:"deliveries_per_second"`
	MissedByCut  uint64  `json:"missed_by_members_that_were_cut_off"`
	// Received is all bytes that the members' and publishers' sockets gave from the start to the end of the listening, with headers of
	// frames and TLS records, without those of TCP and IP; WireBytes is that by deliveries.
	Received  uint64  `json:"received_bytes,omitempty"`
	WireBytes float64 `json:"received_bytes_per_delivery,omitempty"`

	Latency     Percentiles `json:"latency_ns"`
	LatencyVoid bool        `json:"latency_void"`
	Lateness    Percentiles `json:"sent_late_ns"`      // open loop: by how much the bench itself was behind the due time
	AcksLate    Percentiles `json:"acks_late_ns"`      // closed loop: from a helper's acknowledgement of a message to its effect
	Ping        Percentiles `json:"bystander_ping_ns"` // of clients in no group, while the others were served
	Pings       int64       `json:"bystander_pings,omitempty"`

	ServerUser   time.Duration `json:"server_user_ns"`
	ServerSystem time.Duration `json:"server_system_ns"`
	ServerMicros float64       `json:"server_us_per_delivery,omitempty"` // 0: not seen, or too little for a figure
	// Allocations of the server per delivery, from its status socket; negative: unknown.
	Allocations float64 `json:"server_allocations_per_delivery"`

	// Histograms are HdrHistogram's own compressed form (V2, base64), so that runs can be added up.
	Histogram     string `json:"latency_histogram,omitempty"`
	PingHistogram string `json:"bystander_ping_histogram,omitempty"`
}

// Churn counts the short-lived clients beside a stable population.
type Churn struct {
	Connects  uint64  `json:"connects"`
	Joins     uint64  `json:"joins"`
	Leaves    uint64  `json:"leaves"`
	Closes    uint64  `json:"closes"` // with a close frame
	Aborts    uint64  `json:"aborts"` // with a reset
	PerSecond float64 `json:"lives_per_second"`
	Behind    uint64  `json:"not_begun_in_time"` // lives that were due, but no place was free, or the time was over before they could begin
	Heard     uint64  `json:"deliveries_to_those_who_came_and_went"`
}

// Slow is what happened to members that stopped reading.
type Slow struct {
	Members int `json:"slow_members"`
	CutOff  int `json:"cut_off_by_the_server"`
	// CutAfter is from the start to the last end: when a reset or FIN was seen, or, if the end came after messages that were
	// not read, the due time of the last of these.
	CutAfter int64 `json:"last_cut_after_ns,omitempty"`
	// Ends are the ways in which they were cut off: the close frame's code and reason, or what else was seen.
	Ends       map[string]int `json:"cut_off_by_cause,omitempty"`
	Skipped    uint64         `json:"messages_that_they_were_not_given"` // before they were cut off, or without being cut off
	RSSPeak    int64          `json:"rss_peak_bytes"`
	RSSSettled int64          `json:"rss_after_they_left_bytes"`
}

// Resume is what members heard who were cut off and came back, and what it cost that they did. A time of coming back is from the
// first connect after the calm to the last answer. Times are in nanoseconds.
type Resume struct {
	Published    uint64  `json:"published"`
	PublishedPer float64 `json:"published_per_second"`
	Resets       uint64  `json:"cut_by_a_reset"`
	HangUps      uint64  `json:"cut_by_a_fin"`
	Returns      uint64  `json:"returns"`       // of clients, who have their answers of all their groups
	Recovered    uint64  `json:"recovered"`     // in a group
	NotRecovered uint64  `json:"not_recovered"` // likewise
	AskedAgain   uint64  `json:"asked_again"`   // because the server said that it was busy
	Missed       uint64  `json:"missed_messages_in_answers"`
	Heard        uint64  `json:"heard"` // with the missed
	MissedByGone uint64  `json:"missed_by_members_that_did_not_come_back"`

	Seconds      float64     `json:"seconds_of_coming_back"`
	Answer       Percentiles `json:"answer_ns"` // from a client's connect to the last of its answers
	ServerMicros float64     `json:"server_us_per_recovery,omitempty"`

	// Bystanders' latency before anybody was cut off, and while members came back.
	Before      Percentiles `json:"bystanders_before_ns"`
	During      Percentiles `json:"bystanders_during_ns"`
	BeforeCount int64       `json:"bystanders_heard_before,omitempty"`
	DuringCount int64       `json:"bystanders_heard_during,omitempty"`

	Histogram string `json:"answer_histogram,omitempty"`
}

// Post is what publishing over HTTP cost. Times are in nanoseconds.
type Post struct {
	Accepted     uint64      `json:"accepted"`
	Refused      uint64      `json:"refused_as_busy"`
	Seconds      float64     `json:"seconds"`
	PerSecond    float64     `json:"accepted_per_second"`
	Answer       Percentiles `json:"answer_ns"` // from a request's write to the end of its answer
	ServerMicros float64     `json:"server_us_per_request,omitempty"`
}

// Percentiles are of a histogram, in nanoseconds.
type Percentiles struct {
	P50  int64 `json:"p50"`
	P90  int64 `json:"p90"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p99_9"`
	Max  int64 `json:"max"`
}

// Thread is what a thread of the generator did over a time: on a core, or ready to run and waiting for one.
type Thread struct {
	Helper  int           `json:"helper,omitempty"` // which further process of the bench has it; 0: none
	At      int64         `json:"-"`
	Wall    time.Duration `json:"wall_ns"`
	OnCore  time.Duration `json:"on_core_ns"`
	Waiting time.Duration `json:"waiting_for_core_ns"`
}

// Since is what the thread did after before was read.
func (t Thread) Since(before Thread) Thread {
	return Thread{Helper: t.Helper, Wall: time.Duration(t.At - before.At), OnCore: t.OnCore - before.OnCore, Waiting: t.Waiting - before.Waiting}
}

// Busy is the share of the time in which the thread could not have done more: at 1 it was the limit, whether for its
// own work or because another program had the core.
func (t Thread) Busy() float64 { return Share(t.OnCore+t.Waiting, t.Wall) }

// Share is part/whole, 0 of nothing.
func Share(part, whole time.Duration) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// Write writes f to a file, completely or not at all.
func (f *File) Write(name string) error {
	text, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return fmt.Errorf("result file: %w", err)
	}
	temporary := name + ".part"
	if err := os.WriteFile(temporary, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("result file: %w", err)
	}
	if err := os.Rename(temporary, name); err != nil {
		return fmt.Errorf("result file: %w", err)
	}
	return nil
}

// Read reads a file that Write has written.
func Read(name string) (*File, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f := &File{}
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("%s is no result file of this bench: %w", name, err)
	}
	if f.Format != Format {
		return nil, fmt.Errorf("%s has format %d, this bench reads %d", name, f.Format, Format)
	}
	if len(f.Runs) == 0 || slices.Contains(f.Runs, nil) {
		return nil, fmt.Errorf("%s has no runs", name)
	}
	return f, nil
}
