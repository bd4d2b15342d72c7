package settings

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// clusterFlags are the flags of start about the cluster that a server is a node of. Without --cluster-name none of them may be set, and
// none can change while the server runs.
type clusterFlags struct {
	ClusterName       string   `name:"cluster-name" placeholder:"NAME" env:"RINGCAST_CLUSTER_NAME" help:"Be a node of the cluster of this name: groups have members on all its nodes, in one order, and what is kept of them survives a node. Without it there is no cluster."`
	ClusterNode       string   `name:"cluster-node" default:"auto" placeholder:"NAME" env:"RINGCAST_CLUSTER_NODE" help:"Name of this node, unique in the cluster and the same after a restart; auto is made of the host name and the port of --listen."`
	ClusterListen     string   `name:"cluster-listen" placeholder:"ADDR" env:"RINGCAST_CLUSTER_LISTEN" help:"Address where the other nodes connect, such as 10.0.0.1:6222. A cluster of one node has none."`
	ClusterPeers      []string `name:"cluster-peers" placeholder:"ADDR,…" env:"RINGCAST_CLUSTER_PEERS" help:"Addresses of all nodes, this one too, as the others reach them; the same list everywhere; may be repeated."`
	ClusterToken      Secrets  `name:"cluster-token" sep:"none" placeholder:"SECRET|@FILE" env:"RINGCAST_CLUSTER_TOKEN" help:"What nodes show to each other, the same on all; or the name of a file that has it. What is typed here others on this machine can see: prefer a file or the environment."`
	ClusterTLSCert    string   `name:"cluster-tls-cert" placeholder:"FILE" env:"RINGCAST_CLUSTER_TLS_CERT" help:"PEM file with the certificate that this node shows to the others, good for servers and clients, with the host of its address in --cluster-peers."`
	ClusterTLSKey     string   `name:"cluster-tls-key" placeholder:"FILE" env:"RINGCAST_CLUSTER_TLS_KEY" help:"PEM file with the key of that certificate."`
	ClusterTLSCA      string   `name:"cluster-tls-ca" placeholder:"FILE" env:"RINGCAST_CLUSTER_TLS_CA" help:"PEM file with the certificates of those who may have made the certificates of nodes."`
	ClusterNATS       Secrets  `name:"cluster-nats" sep:"none" placeholder:"URL|@FILE" env:"RINGCAST_CLUSTER_NATS" help:"Addresses of NATS servers with JetStream that you operate, such as nats://10.0.0.1:4222,nats://10.0.0.2:4222, in place of the one inside; they may have a user and a password, and are never shown."`
	ClusterReplicas   string   `name:"cluster-replicas" default:"auto" placeholder:"N" env:"RINGCAST_CLUSTER_REPLICAS" help:"Nodes that have each message, 1, 3 or 5; auto is 3, and 1 for a cluster of one node."`
	ClusterPartitions string   `name:"cluster-partitions" default:"16" env:"RINGCAST_CLUSTER_PARTITIONS" help:"Parts into which groups fall, 1 to 256, each of which one node puts in order at a time; fixed when the cluster is born."`
	ClusterSync       string   `name:"cluster-sync" default:"always" placeholder:"always|interval" env:"RINGCAST_CLUSTER_SYNC" help:"always: what was answered ok is on the disk (fsync). interval: the operating system writes it in the next seconds; it survives the process, but not the machine."`
	ClusterWait       string   `name:"cluster-wait" default:"15s" env:"RINGCAST_CLUSTER_WAIT" help:"How long a publish waits for its place in the order while too few nodes can be reached; then its sender is told, and this node is not ready."`
	StoreDir          string   `name:"store-dir" placeholder:"DIR" env:"RINGCAST_STORE_DIR" help:"Directory of what this node keeps of the cluster's messages, its own and on a disk that lasts."`
	StoreMax          string   `name:"store-max" default:"10GiB" env:"RINGCAST_STORE_MAX" help:"Bytes of it; beyond it the oldest messages go."`
}

// Cluster is the cluster that a server is a node of; the zero value: none.
type Cluster struct {
	Name, Node string

	// Of the server inside; with NATS there is none, and these are empty.
	Listen              string   // host:port; empty: a cluster of one node
	Peers               []string // of all nodes; likewise
	Token               string   // empty: none
	TLSCert, TLSKey, CA string   // files; empty: none
	StoreDir            string   // its path
	Sync                bool     // what was answered ok is on the disk

	NATS string // URLs with commas between them; empty: the server inside

	Replicas, Partitions int
	StoreMax             int64 // bytes
	Wait                 time.Duration

	// What the log keeps of each group, as the most that any kind had at the start.
	HistoryMax int
	TTLMax     time.Duration

	MessageMax int // the largest message that a client may send, in bytes, likewise
}

// Bounds on what an operator may set, for the reasons given in limits.go. Those of the partitions, the wait and the store are package
// cluster's, which is not imported here: a program may be built without it.
const (
	clusterNameBytesMax                  = 64
	clusterPeersMax                      = 64
	clusterAddressesMax                  = 16 // of NATS servers
	clusterPartitionsMax                 = 256
	clusterReplicasMax                   = 5
	clusterTokenBytesGood                = 16
	clusterWaitMin, clusterWaitTop       = time.Second, 5 * time.Minute
	storeMin, storeTop             int64 = 64 << 20, 1 << 50
	clusterMessageMax                    = 7 << 20 // that the log takes, with some room for what goes with a message
)

// auto stands for what follows from other settings.
const auto = "auto"

// cluster reads the flags, when all others have been read.
func (f *clusterFlags) cluster(c *checker, s *Settings) {
	token := c.secrets("cluster-token", f.ClusterToken, 1)
	s.typed.ClusterToken, s.typed.contents["cluster-token"] = f.ClusterToken.hidden(), fingerprint(strings.Join(token, "\n"))
	nats := c.natsServers("cluster-nats", f.ClusterNATS)
	s.typed.ClusterNATS, s.typed.contents["cluster-nats"] = f.ClusterNATS.hidden(), fingerprint(nats)
	if f.ClusterName == "" {
		f.only(c, "name the cluster with --cluster-name, or leave it off", func(name string) bool { return name == "cluster-name" })
		return
	}
	if c.g.reading.NoCluster {
		c.wrong("cluster-name", f.ClusterName, "cannot be: this program was built without the cluster (build tag nocluster); leave it off, or start a program that has it")
		return
	}
	k := Cluster{
		Name:       c.word("cluster-name", f.ClusterName),
		NATS:       nats,
		Partitions: c.count("cluster-partitions", f.ClusterPartitions, "", 1, clusterPartitionsMax),
		Sync:       c.oneOf("cluster-sync", f.ClusterSync, "always", "interval") == "always",
		Wait:       c.duration("cluster-wait", f.ClusterWait, clusterWaitMin, clusterWaitTop),
		StoreMax:   c.sizeOr("store-max", f.StoreMax, "", storeMin, storeTop),
	}
	if nats != "" {
		f.only(c, "it is for the server inside, and --cluster-nats names others; leave one of them off", func(name string) bool {
			_, inside := ofServerInside[name]
			return !inside
		})
	} else {
		k.Token = strings.Join(token, "")
		f.inside(c, s, &k)
	}
	k.Replicas = c.replicas(f.ClusterReplicas, &k)
	k.Node = c.node(f.ClusterNode, slices.Concat(s.Loop.Listen, s.Loop.TLSListen))
	for _, kind := range s.Loop.AllKinds() {
		k.HistoryMax, k.TTLMax = max(k.HistoryMax, kind.History), max(k.TTLMax, kind.HistoryTTL)
	}
	k.MessageMax = s.Loop.MessageBytesMax
	s.Cluster = k
}

// ofServerInside are the flags that have no meaning with --cluster-nats.
var ofServerInside = map[string]struct{}{"cluster-listen": {}, "cluster-peers": {}, "cluster-token": {}, "cluster-tls-cert": {},
	"cluster-tls-key": {}, "cluster-tls-ca": {}, "cluster-sync": {}, "store-dir": {}}

// only refuses every flag of the cluster that was set and may not be, with its mend.
func (f *clusterFlags) only(c *checker, mend string, may func(name string) bool) {
	eachFlag(reflect.ValueOf(*f), func(tag reflect.StructTag, value any) {
		name, text := tag.Get("name"), textOf(value)
		if may(name) || text == tag.Get("default") {
			return
		}
		if isSecret(name) {
			c.wrongSecret(name, "", "has no meaning here: %s", mend)
		} else {
			c.wrong(name, text, "has no meaning here: %s", mend)
		}
	})
}

// word is a name for programs: others use it in addresses of their own.
func (c *checker) word(flag, value string) string {
	switch {
	case len(value) > clusterNameBytesMax:
		c.wrong(flag, value, "has more than %d bytes; shorten it", clusterNameBytesMax)
	case !isWord(value):
		c.wrong(flag, value, "must be of the letters A to Z and a to z, digits, - and _")
	}
	return value
}

func isWord(text string) bool { return text != "" && text == wordOf(text) }

// wordOf is a text with - in place of all that may not be in a word.
func wordOf(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '-'
	}, text)
}

// node is the name of this node. One that is made has to be the same after a restart: what the node keeps belongs to it by name.
func (c *checker) node(value string, listen []string) string {
	if value != auto {
		return c.word("cluster-node", value)
	}
	for _, address := range listen {
		host := c.g.reading.Hostname
		if _, port, err := net.SplitHostPort(address); err == nil && port != "0" && host != "" && !strings.HasPrefix(address, "unix:") {
			return c.word("cluster-node", wordOf(host)+"-"+port)
		}
	}
	c.wrong("cluster-node", value, "has nothing to be made of, as this machine has no name or --listen no fixed port; beside --cluster-name name this node, such as --cluster-node n1, and name it so at every start")
	return ""
}

// inside reads the flags of the server inside.
func (f *clusterFlags) inside(c *checker, s *Settings, k *Cluster) {
	if f.StoreDir == "" {
		c.wrong("cluster-name", f.ClusterName, "needs a directory for what this node keeps; name one of its own with --store-dir, or NATS servers with --cluster-nats")
	}
	k.StoreDir = c.g.abs(f.StoreDir)
	k.Peers = c.peers("cluster-peers", f.ClusterPeers)
	k.Listen = f.ClusterListen
	f.tls(c, s, k)
	switch {
	case len(k.Peers) > 0 && k.Listen == "":
		c.wrong("cluster-peers", strings.Join(k.Peers, ","), "are the nodes of a cluster, and this one listens nowhere for them; name the address where they connect with --cluster-listen")
	case k.Listen == "":
		if k.Token != "" {
			c.wrongSecret("cluster-token", "", "is what nodes show to each other, and there is one alone; name all nodes with --cluster-peers, or leave it off")
		}
		if k.TLSCert != "" {
			c.wrong("cluster-tls-cert", k.TLSCert, "is what nodes show to each other, and there is one alone; name all nodes with --cluster-peers, or leave it off")
		}
		return
	case len(k.Peers) == 1:
		c.wrong("cluster-peers", k.Peers[0], "is one node alone; name all nodes, this one too, or leave off --cluster-peers and --cluster-listen for a cluster of one")
	case len(k.Peers) == 0:
		c.wrong("cluster-listen", k.Listen, "is where other nodes connect, and none are named; name all nodes, this one too, with --cluster-peers, or leave it off for a cluster of one")
	}
	c.listen("cluster-listen", k.Listen)
	host, port, _ := net.SplitHostPort(k.Listen)
	if port == "0" {
		c.wrong("cluster-listen", k.Listen, "has no fixed port, and the other nodes could not find it; name one, such as 6222")
	}
	found := false
	for _, peer := range k.Peers {
		_, its, _ := net.SplitHostPort(peer)
		found = found || its == port
	}
	if !found {
		c.wrong("cluster-peers", strings.Join(k.Peers, ","), "has no address with the port of --cluster-listen %q; name all nodes, this one too", k.Listen)
	}
	c.portOfItsOwn("cluster-listen", k.Listen, "admin", s.Admin)
	c.portOfItsOwn("cluster-listen", k.Listen, "channel", s.Channel.Listen)
	for _, address := range s.Loop.Listen {
		c.portOfItsOwn("cluster-listen", k.Listen, "listen", address)
	}
	for _, address := range s.Loop.TLSListen {
		c.portOfItsOwn("cluster-listen", k.Listen, "tls-listen", address)
	}
	c.portOfItsOwn("cluster-listen", k.Listen, "http-redirect", s.TLS.Redirect)
	if k.Token == "" && k.TLSCert == "" && !isLoopbackHost(host) {
		c.wrong("cluster-listen", k.Listen, "can be reached from other machines, and whoever reaches it could be a node; set a --cluster-token, or --cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca, on all nodes")
	}
}

// isLoopbackHost says whether a host can only be reached from this machine.
func isLoopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// peers are the addresses of all nodes.
func (c *checker) peers(flag string, values []string) (all []string) {
	seen := map[string]bool{}
	for _, value := range values {
		if value = strings.TrimSpace(value); value == "" {
			continue
		}
		c.listen(flag, value)
		host, port, _ := net.SplitHostPort(value)
		switch {
		case isWildcard(host) || port == "0":
			c.wrong(flag, value, "is no address that the other nodes can reach; write each node's own, such as 10.0.0.1:6222")
		case seen[value]:
			c.wrong(flag, value, "is named twice; name each node once")
		}
		seen[value], all = true, append(all, value)
	}
	if len(all) > clusterPeersMax {
		c.wrong(flag, strings.Join(all, ","), "names %d nodes; name at most %d", len(all), clusterPeersMax)
	}
	return all
}

// replicas is how many nodes have each message. Two cannot agree when one is gone, so an even number is worse than the odd one below it.
func (c *checker) replicas(value string, k *Cluster) int {
	const flag = "cluster-replicas"
	nodes := max(len(k.Peers), 1)
	if value == auto {
		switch {
		case k.NATS != "":
			return 3
		case nodes == 2:
			c.wrong("cluster-peers", strings.Join(k.Peers, ","), "names two nodes, which cannot agree on anything when one of them is gone; name three, "+
				"or say --cluster-replicas 1, and each message lies on one node alone")
		}
		return min(nodes, 3)
	}
	n := c.count(flag, value, auto, 1, clusterReplicasMax)
	switch {
	case n == 2:
		c.wrong(flag, value, "is no more than 1: two nodes cannot agree when one of them is gone; write 1 or 3")
	case n == 4:
		c.wrong(flag, value, "is no more than 3: as many may be gone, one; write 3 or 5")
	case k.NATS == "" && n > nodes:
		c.wrong(flag, value, "is more than the %d nodes that there are; name more with --cluster-peers, or write less", nodes)
	}
	return n
}

// tls reads the certificates, so that a mistake is found before another server is stopped. All three are needed: a node is what shows a
// certificate that one of the authorities has made.
func (f *clusterFlags) tls(c *checker, s *Settings, k *Cluster) {
	files := []struct{ flag, name string }{{"cluster-tls-cert", f.ClusterTLSCert}, {"cluster-tls-key", f.ClusterTLSKey}, {"cluster-tls-ca", f.ClusterTLSCA}}
	var texts [3][]byte
	for _, one := range files {
		for _, other := range files {
			if one.name != "" && other.name == "" {
				c.wrongSecret(one.flag, "", "needs --%s; name all of --cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca", other.flag)
			}
		}
	}
	if c.err != nil || f.ClusterTLSCert == "" {
		return
	}
	for i, file := range files {
		if strings.Contains(file.name, "-----BEGIN") {
			c.wrongSecret(file.flag, "", "is what stands in a file; name the file")
			return
		}
		text, err := c.g.readFile(file.name, keyFileMax)
		if err != nil {
			c.wrong(file.flag, file.name, "%v", err)
			return
		}
		texts[i], s.typed.contents[file.flag] = text, fingerprint(string(text))
	}
	if _, err := tls.X509KeyPair(texts[0], texts[1]); err != nil {
		c.wrong("cluster-tls-cert", f.ClusterTLSCert, "cannot be used with --cluster-tls-key %q: %v; name a certificate and its key, both in PEM", f.ClusterTLSKey, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(texts[2]) {
		c.wrong("cluster-tls-ca", f.ClusterTLSCA, "has no certificate in it; name a file with one in PEM")
	}
	k.TLSCert, k.TLSKey, k.CA = c.g.abs(f.ClusterTLSCert), c.g.abs(f.ClusterTLSKey), c.g.abs(f.ClusterTLSCA)
}

// natsServers are addresses of NATS servers, with commas between them. They may have a password in them, so none is shown.
func (c *checker) natsServers(flag string, values Secrets) string {
	var all []string
	for _, line := range c.secrets(flag, values, clusterAddressesMax) {
		for address := range strings.SplitSeq(line, ",") {
			if address = strings.TrimSpace(address); address == "" {
				continue
			}
			if err := checkNATS(address); err != nil {
				c.wrongSecret(flag, "", "%v", err)
			}
			all = append(all, address)
		}
	}
	if len(values) > 0 && len(all) == 0 {
		c.wrongSecret(flag, "", "names no server; write an address such as nats://10.0.0.1:4222")
	}
	if len(all) > clusterAddressesMax {
		c.wrongSecret(flag, "", "names %d servers; name at most %d", len(all), clusterAddressesMax)
	}
	return strings.Join(all, ",")
}

func checkNATS(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "":
		return errors.New("is not an address; write one such as nats://10.0.0.1:4222, without the spaces and signs that only a password in %-escapes may have")
	case u.Scheme != "nats" && u.Scheme != "tls":
		return errors.New("has no scheme that is known; write nats:// or, with encryption, tls://")
	}
	return nil
}

// adoptCluster keeps what a running server cannot change, in settings that have taken over the rest.
func (s *Settings) adoptCluster(old *Settings) {
	s.typed.contents = maps.Clone(s.typed.contents)
	eachFlag(reflect.ValueOf(clusterFlags{}), func(tag reflect.StructTag, _ any) {
		name := tag.Get("name")
		if text, had := old.typed.contents[name]; had {
			s.typed.contents[name] = text
		} else {
			delete(s.typed.contents, name)
		}
	})
}

// ClusterWarnings are sentences about the cluster that an operator should see at every start and each change.
func (s *Settings) ClusterWarnings() (all []string) {
	k := &s.Cluster
	if k.Name == "" {
		return nil
	}
	if host, _, err := net.SplitHostPort(k.Listen); err == nil && k.TLSCert == "" && !isLoopbackHost(host) {
		all = append(all, "Nodes talk to each other unencrypted: whoever is on the way between them reads every message and the --cluster-token. "+
			"Use a network of your own, or --cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca.")
	}
	if n := len(k.Token); n > 0 && n < clusterTokenBytesGood {
		all = append(all, fmt.Sprintf("The --cluster-token is shorter than %d bytes. Whoever tries long enough may find it and be a node; make one with openssl rand -hex 32.", clusterTokenBytesGood))
	}
	if k.Replicas == 1 && len(k.Peers) > 1 {
		all = append(all, "--cluster-replicas is 1: each message lies on one node alone. While that one is away its groups stand still, and what it loses is lost.")
	}
	if most := s.Loop.MessageBytesMax; most > clusterMessageMax {
		all = append(all, fmt.Sprintf("The cluster's log takes messages of up to %s with what goes with them, and --message-max is %s: larger ones are refused as bad_message.",
			SizeText(clusterMessageMax), SizeText(int64(most))))
	}
	for _, kind := range s.Loop.AllKinds() {
		if kind.History > k.HistoryMax || cmp.Or(kind.HistoryTTL, s.Loop.HistoryTTL) > k.TTLMax {
			all = append(all, fmt.Sprintf("The cluster's log keeps %d messages of a group, for %s at least, as at the start; what kinds of groups have beyond that since a reload comes with a restart of all nodes.",
				k.HistoryMax, DurationText(k.TTLMax)))
			break
		}
	}
	return all
}
