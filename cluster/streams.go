package cluster

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// This file is the log as JetStream has it: a stream for each partition, and one for what is said once, at the cluster's birth.

const (
	metaStream      = "RCMETA"
	metaSubject     = "rcm.birth"
	metaBytesMax    = 1 << 20
	duplicatesMin   = 2 * time.Minute  // in which the same publish is known again: what is promised, and what a repeat may wait. It costs memory on all replicas, per message
	duplicatesKnown = 30 * time.Second // what is promised
	duplicatesSpare = 10 * time.Second // before the end of it, nothing is sent again: it may be under way for so long
	ageMin          = 24 * time.Hour

	// groupKeptMin is how many messages of a group the log keeps at least, whatever kinds have: as many as one group may say while a node
	// misses messages, without that one losing some of them.
	groupKeptMin = 4096

	askTimeout = time.Second // of one request to the servers

	noStreamsTicks = 25 // without anybody who knows streams, after which servers of others are taken for such that have none
)

// groupKept is how many messages of each group the log keeps.
func (c *Config) groupKept() int { return max(groupKeptMin, c.HistoryMax+1) }

// duplicates is for how long the log knows a publish again.
func (c *Cluster) duplicates() time.Duration {
	return max(duplicatesMin, duplicatesKnown+2*c.config.Wait)
}

// partitionBytes is how much of the store a partition may fill.
func (c *Cluster) partitionBytes() int64 {
	return (c.config.StoreMax - metaBytesMax) / int64(c.config.Partitions)
}

// ageMax is for how long the log keeps messages.
func (c *Cluster) ageMax() time.Duration { return max(ageMin, c.config.TTLMax) }

// partitionStream is what the stream of a partition is to be.
func (c *Cluster) partitionStream(p *partition) server.StreamConfig {
	return server.StreamConfig{
		Name:       p.stream,
		Subjects:   []string{fmt.Sprintf("rc.%d.*", p.number)},
		Storage:    server.FileStorage,
		Replicas:   c.config.Replicas,
		MaxMsgsPer: int64(c.config.groupKept()),
		MaxMsgs:    -1, MaxMsgSize: -1, MaxConsumers: -1,
		MaxBytes:          c.partitionBytes(),
		MaxAge:            c.ageMax(),
		Discard:           server.DiscardOld,
		Duplicates:        c.duplicates(),
		AllowDirect:       true,
		AllowRollup:       true, // by which a group is forgotten
		AllowBatchPublish: true,
		DenyDelete:        true,
		RePublish:         &server.RePublish{Source: fmt.Sprintf("rc.%d.*", p.number), Destination: fmt.Sprintf("rl.%d.{{wildcard(1)}}", p.number)},
	}
}

// haveStream makes the stream if there is none, and changes one that is otherwise. It waits until there is a majority for that.
func (c *Cluster) haveStream(ctx context.Context, want server.StreamConfig) error {
	var why atomic.Value
	why.Store("no answer yet")
	stop := c.waiting(func() string { return "the stream " + want.Name + ": " + why.Load().(string) })
	defer stop()
	for silent := 0; ; {
		done, err := c.tryStream(ctx, want)
		if done {
			return nil
		}
		if silent++; !errors.Is(err, nats.ErrNoResponders) {
			silent = 0
		}
		if c.config.NATS != "" && silent > noStreamsTicks {
			return &ConfigError{"the NATS servers have no JetStream for this user", "enable it there, or name other servers by --cluster-nats"}
		}
		var wrong *ConfigError
		if errors.As(err, &wrong) {
			return err
		}
		if err != nil {
			why.Store(err.Error())
		}
		if !pause(ctx, tick) {
			return fmt.Errorf("the stream %s was not to be had: %s: %w", want.Name, why.Load(), context.Cause(ctx))
		}
	}
}

// haveReplica waits until this node's copy of a stream, if it is to have one, has what the leader has. A node that says it is ready before that, as one
// with an empty store could, counts for a majority and has nothing: with another node away nobody might lead. Who restarts nodes goes by readiness.
func (c *Cluster) haveReplica(ctx context.Context, stream string) error {
	stop := c.waiting(func() string { return "this node's copy of the stream " + stream })
	defer stop()
	for {
		info, err := c.streamInfo(ctx, stream)
		if err == nil && (info.Cluster == nil || info.Cluster.Leader != "" && isCurrent(info.Cluster, c.config.Node)) {
			return nil
		}
		if !pause(ctx, tick) {
			return fmt.Errorf("this node has no copy of the stream %s: %w", stream, context.Cause(ctx))
		}
	}
}

// isCurrent says whether a node has what the leader has, or is to have nothing.
func isCurrent(of *server.ClusterInfo, node string) bool {
	for _, replica := range of.Replicas {
		if replica.Name == node {
			return replica.Current && !replica.Offline
		}
	}
	return true
}

// tryStream takes one step towards the stream.
func (c *Cluster) tryStream(ctx context.Context, want server.StreamConfig) (done bool, err error) {
	info, err := c.streamInfo(ctx, want.Name)
	var refused *server.ApiError
	if errors.As(err, &refused) && refused.ErrCode == uint16(server.JSStreamNotFoundErr) {
		return false, c.storeRefusal(c.request(ctx, "$JS.API.STREAM.CREATE."+want.Name, want, nil))
	}
	if err != nil {
		return false, err
	}
	if info.Cluster != nil && info.Cluster.Leader == "" {
		return false, errors.New("it has no leader")
	}
	has := info.Config
	if has.Replicas == want.Replicas && has.MaxMsgsPer == want.MaxMsgsPer && has.MaxBytes == want.MaxBytes && has.MaxAge == want.MaxAge && has.Duplicates == want.Duplicates {
		return true, nil
	}
	c.log.Info("a stream of the log changes", "stream", want.Name, "replicas", want.Replicas, "bytes_max", want.MaxBytes, "group_max", want.MaxMsgsPer, "age_max", want.MaxAge)
	err = c.storeRefusal(c.request(ctx, "$JS.API.STREAM.UPDATE."+want.Name, want, nil))
	return err == nil, err
}

// storeRefusal makes an error of the operator's of one that says that the store is too small.
func (c *Cluster) storeRefusal(err error) error {
	var refused *server.ApiError
	if errors.As(err, &refused) {
		switch server.ErrorIdentifier(refused.ErrCode) {
		case server.JSStorageResourcesExceededErr, server.JSNotEnabledErr, server.JSNotEnabledForAccountErr:
			return &ConfigError{"the servers refuse a stream of the log: " + refused.Description,
				fmt.Sprintf("have JetStream take --store-max (%d bytes) on each node, or say less", c.config.StoreMax)}
		}
	}
	return err
}

// birth is what a cluster is from its beginning. It never changes.
type birth struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Partitions int    `json:"partitions"`
	Key        []byte `json:"key"` // by which groups fall into partitions, so that clients cannot aim at one
}

// beBorn learns what the cluster is, or says it if this is the first node.
func (c *Cluster) beBorn(ctx context.Context) (birth, error) {
	err := c.haveStream(ctx, server.StreamConfig{
		Name: metaStream, Subjects: []string{"rcm.*"}, Storage: server.FileStorage, Replicas: c.config.Replicas,
		MaxMsgs: -1, MaxMsgSize: -1, MaxConsumers: -1, MaxMsgsPer: 1, MaxBytes: metaBytesMax, Discard: server.DiscardNew, Duplicates: c.duplicates(), AllowDirect: true, DenyDelete: true, DenyPurge: true,
	})
	if err != nil {
		return birth{}, err
	}
	var is birth
	for {
		m, err := c.lastOf(ctx, metaStream, metaSubject)
		if err == nil && m != nil {
			if err := json.Unmarshal(m.Data, &is); err != nil || len(is.Key) != highwayhash.Size {
				return birth{}, &ConfigError{"what the log says of the cluster's birth cannot be read", "is this a store of ringcast's? Begin with an empty one, or another --cluster-name"}
			}
			break
		}
		if err == nil {
			first := birth{ID: newBoot(), Name: c.config.Name, Partitions: c.config.Partitions, Key: make([]byte, highwayhash.Size)}
			rand.Read(first.Key)
			text, _ := json.Marshal(first)
			_ = c.publishFirst(ctx, metaSubject, text, 0) // where another was first, that one is read
		}
		if !pause(ctx, tick/4) {
			return birth{}, fmt.Errorf("learning what the cluster is: %w", context.Cause(ctx))
		}
	}
	if is.Name != c.config.Name {
		return birth{}, &ConfigError{fmt.Sprintf("the log is that of the cluster %q, and this is %q", is.Name, c.config.Name), "say --cluster-name " + is.Name}
	}
	if is.Partitions != c.config.Partitions {
		return birth{}, &ConfigError{fmt.Sprintf("the cluster was born with %d partitions, and this node has %d", is.Partitions, c.config.Partitions),
			"say --cluster-partitions " + strconv.Itoa(is.Partitions)}
	}
	if c.store != nil {
		if err := c.store.belongsTo(is.ID); err != nil {
			return birth{}, err
		}
	}
	return is, nil
}

// partitionHash says in which partition a group is: the same on all nodes, and not to be guessed from outside.
func partitionHash(key []byte, partitions int) (func(group string) int, error) {
	if len(key) != highwayhash.Size {
		return nil, errors.New("the key of the partitions has a wrong size")
	}
	return func(group string) int {
		return int(highwayhash.Sum64([]byte(group), key) % uint64(partitions))
	}, nil
}

// request asks the servers for something of JetStream's. out may be nil. An answer that is an error is a *server.ApiError.
func (c *Cluster) request(ctx context.Context, subject string, in, out any) error {
	var body []byte
	switch in := in.(type) {
	case nil:
	case []byte:
		body = in
	default:
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m, err := c.conn.RequestWithContext(ctx, subject, body)
	if err != nil {
		return err
	}
	return answer(m, out)
}

// answer reads what came back for a request of JetStream's.
func answer(m *nats.Msg, out any) error {
	var is server.ApiResponse
	if err := json.Unmarshal(m.Data, &is); err != nil {
		return fmt.Errorf("an answer of the servers: %w", err)
	}
	if is.Error != nil {
		return is.Error
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(m.Data, out)
}

// streamInfo is what the leader of a stream says of it.
func (c *Cluster) streamInfo(ctx context.Context, stream string) (info server.StreamInfo, err error) {
	err = c.request(ctx, "$JS.API.STREAM.INFO."+stream, nil, &info)
	return info, err
}

// lastOf asks the leader of a stream for the last message of a subject, which may have wildcards. nil: there is none.
func (c *Cluster) lastOf(ctx context.Context, stream, subject string) (*server.StoredMsg, error) {
	var got server.JSApiMsgGetResponse
	err := c.request(ctx, "$JS.API.STREAM.MSG.GET."+stream, server.JSApiMsgGetRequest{LastFor: subject}, &got)
	var refused *server.ApiError
	if errors.As(err, &refused) && refused.ErrCode == uint16(server.JSNoMessageFoundErr) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if got.Message == nil {
		return nil, errors.New("an answer of the servers without a message")
	}
	return got.Message, nil
}

// nextOf asks the leader of a stream for the first message of a subject, which may have wildcards, from an offset on; nil: there is none. It comes as replicas
// answer, with its offset and subject in its header.
func (c *Cluster) nextOf(ctx context.Context, stream, subject string, from uint64) (*nats.Msg, error) {
	var got server.JSApiMsgGetResponse
	err := c.request(ctx, "$JS.API.STREAM.MSG.GET."+stream, server.JSApiMsgGetRequest{Seq: from, NextFor: subject}, &got)
	var refused *server.ApiError
	if errors.As(err, &refused) && refused.ErrCode == uint16(server.JSNoMessageFoundErr) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if got.Message == nil {
		return nil, errors.New("an answer of the servers without a message")
	}
	m := &nats.Msg{Subject: got.Message.Subject, Data: got.Message.Data, Header: nats.Header{}}
	if len(got.Message.Header) > 0 {
		if m.Header, err = nats.DecodeHeadersMsg(got.Message.Header); err != nil {
			return nil, err
		}
	}
	m.Header[headerSubject] = []string{got.Message.Subject}
	m.Header[headerOffset] = []string{strconv.FormatUint(got.Message.Sequence, 10)}
	m.Header[headerTime] = []string{got.Message.Time.Format(time.RFC3339Nano)}
	return m, nil
}

// publishFirst publishes a message if the last one of its subject is that of the offset given; 0: if there is none.
func (c *Cluster) publishFirst(ctx context.Context, subject string, data []byte, last uint64) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m := nats.NewMsg(subject)
	m.Data = data
	m.Header[server.JSExpectedLastSubjSeq] = []string{strconv.FormatUint(last, 10)}
	got, err := c.conn.RequestMsgWithContext(ctx, m)
	if err != nil {
		return err
	}
	return answer(got, nil)
}

// base64Text is bytes as one token of letters, digits, - and _.
func base64Text(p []byte) string { return base64.RawURLEncoding.EncodeToString(p) }
