package settings

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// oneNode is a cluster of one; threeNodes is a node of one of three. More may be added.
var (
	oneNode    = []string{"--cluster-name", "chat", "--store-dir", "/store"}
	threeNodes = slices.Clip(append(slices.Clone(oneNode), "--cluster-listen", "127.0.0.1:6222", "--cluster-peers", "127.0.0.1:6222,127.0.0.1:6223", "--cluster-peers", "127.0.0.1:6224"))
)

// hosted is parse with a port, of which the name of the node is made.
func (w world) hosted(args ...string) (Settings, error) {
	if !slices.Contains(args, "--listen") {
		args = append([]string{"--listen", "127.0.0.1:1234"}, args...)
	}
	return w.parse(args...)
}

func TestWithoutANameThereIsNoClusterAndNothingOfItMayBeSet(t *testing.T) {
	s, err := parse(t)
	if err != nil || !reflect.DeepEqual(s.Cluster, Cluster{}) {
		t.Errorf("by default: got %+v, %v, want none", s.Cluster, err)
	}
	eachFlag(reflect.ValueOf(clusterFlags{}), func(tag reflect.StructTag, _ any) {
		name := tag.Get("name")
		value := map[string]string{"cluster-nats": "nats://" + shownKey + "@127.0.0.1:4222", "cluster-token": shownKey}[name]
		if value == "" {
			value = "another-than-by-default"
		}
		if name == "cluster-name" {
			return
		}
		_, err := parse(t, "--"+name, value)
		refused(t, name, err, "--"+name, "name the cluster with --cluster-name, or leave it off")
		if strings.Contains(fmt.Sprint(err), shownKey) {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	})
}

func TestAClusterOfOneNeedsANameAndAStoreAlone(t *testing.T) {
	s, err := world{}.hosted(append(oneNode, "--history", "50", "--history-ttl", "1h")...)
	want := Cluster{Name: "chat", Node: "host-example-1234", StoreDir: "/store", Sync: true, Replicas: 1, Partitions: 16, StoreMax: 10 << 30,
		Wait: 15 * time.Second, HistoryMax: 50, TTLMax: time.Hour, MessageMax: 1 << 20}
	if err != nil || !reflect.DeepEqual(s.Cluster, want) {
		t.Errorf("got  %+v, %v\nwant %+v", s.Cluster, err, want)
	}
	if warnings := s.ClusterWarnings(); len(warnings) > 0 {
		t.Errorf("warnings: got %q, want none", warnings)
	}
}

func TestANodeOfThreeIsTakenFromFlagsEnvironmentAndFile(t *testing.T) {
	const token = "token-of-sixteen-bytes"
	want := Cluster{Name: "chat", Node: "n1", Listen: "10.0.0.1:6222", Peers: []string{"10.0.0.1:6222", "10.0.0.2:6222", "10.0.0.3:6222"}, Token: token,
		StoreDir: "/start/store", Replicas: 3, Partitions: 32, StoreMax: 1 << 30, Wait: 5 * time.Second, TTLMax: 5 * time.Minute, MessageMax: 1 << 20}
	for what, from := range map[string]struct {
		w    world
		args []string
	}{
		"flags": {world{files: map[string]string{"/run/token": token + "\n"}}, []string{"--cluster-name", "chat", "--cluster-node", "n1", "--cluster-listen", "10.0.0.1:6222",
			"--cluster-peers", "10.0.0.1:6222, 10.0.0.2:6222", "--cluster-peers", "10.0.0.3:6222", "--cluster-token", "@/run/token", "--store-dir", "store",
			"--cluster-partitions", "32", "--store-max", "1GiB", "--cluster-wait", "5s", "--cluster-sync", "interval"}},
		"the environment": {world{environ: []string{"RINGCAST_CLUSTER_NAME=chat", "RINGCAST_CLUSTER_NODE=n1", "RINGCAST_CLUSTER_LISTEN=10.0.0.1:6222",
			"RINGCAST_CLUSTER_PEERS=10.0.0.1:6222,10.0.0.2:6222,10.0.0.3:6222", "RINGCAST_CLUSTER_TOKEN=" + token, "RINGCAST_STORE_DIR=store", "RINGCAST_CLUSTER_REPLICAS=3",
			"RINGCAST_CLUSTER_PARTITIONS=32", "RINGCAST_STORE_MAX=1GiB", "RINGCAST_CLUSTER_WAIT=5s", "RINGCAST_CLUSTER_SYNC=interval"}}, nil},
		"the file": {world{config: `{"cluster-name": "chat", "cluster-node": "n1", "cluster-listen": "10.0.0.1:6222",
			"cluster-peers": ["10.0.0.1:6222", "10.0.0.2:6222", "10.0.0.3:6222"], "cluster-token": "` + token + `", "store-dir": "store", "cluster-replicas": 3,
			"cluster-partitions": 32, "store-max": "1GiB", "cluster-wait": "5s", "cluster-sync": "interval"}`}, []string{"--config", configName}},
	} {
		s, err := from.w.hosted(from.args...)
		if err != nil || !reflect.DeepEqual(s.Cluster, want) {
			t.Errorf("%s: got  %+v, %v\nwant %+v", what, s.Cluster, err, want)
		}
	}
}

func TestAClusterThatMakesNoSenseIsRefusedWithTheMend(t *testing.T) {
	for what, c := range map[string]struct {
		args  []string
		wants []string
	}{
		"no store":                  {[]string{"--cluster-name", "a"}, []string{"--cluster-name", "--store-dir"}},
		"a name with a space":       {[]string{"--cluster-name", "a b", "--store-dir", "/s"}, []string{`--cluster-name "a b"`, "letters"}},
		"a long name":               {[]string{"--cluster-name", strings.Repeat("x", 65), "--store-dir", "/s"}, []string{"--cluster-name", "shorten it"}},
		"a node with a dot":         {append(oneNode, "--cluster-node", "a.b"), []string{`--cluster-node "a.b"`, "letters"}},
		"a node without a port":     {append(oneNode, "--listen", "127.0.0.1:0"), []string{"--cluster-node", "name this node", "--cluster-name"}},
		"peers, and no listen":      {append(oneNode, "--cluster-peers", "10.0.0.1:1,10.0.0.2:1,10.0.0.3:1"), []string{"--cluster-peers", "--cluster-listen"}},
		"listen, and no peers":      {append(oneNode, "--cluster-listen", "127.0.0.1:6222"), []string{"--cluster-listen", "--cluster-peers", "leave it off"}},
		"one peer":                  {append(oneNode, "--cluster-listen", "127.0.0.1:6222", "--cluster-peers", "127.0.0.1:6222"), []string{"--cluster-peers", "one node alone"}},
		"two nodes":                 {append(oneNode, "--cluster-listen", "127.0.0.1:6222", "--cluster-peers", "127.0.0.1:6222,127.0.0.1:6223"), []string{"--cluster-peers", "name three", "--cluster-replicas 1"}},
		"two replicas":              {append(threeNodes, "--cluster-replicas", "2"), []string{`--cluster-replicas "2"`, "write 1 or 3"}},
		"four replicas":             {append(threeNodes, "--cluster-replicas", "4"), []string{`--cluster-replicas "4"`, "write 3 or 5"}},
		"more replicas than nodes":  {append(threeNodes, "--cluster-replicas", "5"), []string{`--cluster-replicas "5"`, "3 nodes", "--cluster-peers"}},
		"three replicas of one":     {append(oneNode, "--cluster-replicas", "3"), []string{`--cluster-replicas "3"`, "--cluster-peers"}},
		"no replicas":               {append(threeNodes, "--cluster-replicas", "0"), []string{`--cluster-replicas "0"`, "from 1 to 5, or auto"}},
		"no partitions":             {append(oneNode, "--cluster-partitions", "0"), []string{"--cluster-partitions", "from 1 to 256"}},
		"too many partitions":       {append(oneNode, "--cluster-partitions", "257"), []string{"--cluster-partitions", "from 1 to 256"}},
		"a sync of some kind":       {append(oneNode, "--cluster-sync", "never"), []string{"--cluster-sync", "always or interval"}},
		"a wait without a unit":     {append(oneNode, "--cluster-wait", "15"), []string{"--cluster-wait", "write 15s for seconds"}},
		"a short wait":              {append(oneNode, "--cluster-wait", "100ms"), []string{"--cluster-wait", "from 1s to 5m"}},
		"a small store":             {append(oneNode, "--store-max", "1MiB"), []string{"--store-max", "from 64MiB"}},
		"a peer without a port":     {append(oneNode, "--cluster-listen", "127.0.0.1:6222", "--cluster-peers", "10.0.0.1"), []string{`--cluster-peers "10.0.0.1"`, "HOST:PORT"}},
		"a peer twice":              {append(threeNodes, "--cluster-peers", "127.0.0.1:6222"), []string{`--cluster-peers "127.0.0.1:6222"`, "once"}},
		"a peer that is everywhere": {append(threeNodes, "--cluster-peers", "0.0.0.0:6225"), []string{`--cluster-peers "0.0.0.0:6225"`, "each node's own"}},
		"peers without this one":    {append(oneNode, "--cluster-listen", "127.0.0.1:7", "--cluster-peers", "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"), []string{"--cluster-peers", "this one too"}},
		"a port of any number": {append(oneNode, "--cluster-listen", "127.0.0.1:0", "--cluster-peers", "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"),
			[]string{"--cluster-listen", "no fixed port"}},
		"the port of clients":           {append(threeNodes, "--listen", "127.0.0.1:6222"), []string{"--cluster-listen", `the port of --listen`}},
		"the port of operators":         {append(threeNodes, "--admin", "127.0.0.1:6222"), []string{"--cluster-listen", `the port of --admin`}},
		"the port of PHP":               {append(threeNodes, "--channel", "127.0.0.1:6222"), []string{"--cluster-listen", `the port of --channel`}},
		"an open door":                  {append(threeNodes, "--cluster-listen", "0.0.0.0:6222"), []string{"--cluster-listen", "--cluster-token", "--cluster-tls-cert"}},
		"a token for nobody":            {append(oneNode, "--cluster-token", shownKey), []string{"--cluster-token", "leave it off"}},
		"two tokens":                    {append(threeNodes, "--cluster-token", shownKey, "--cluster-token", shownKey), []string{"--cluster-token", "2 secrets"}},
		"a token in a file that is not": {append(threeNodes, "--cluster-token", "@/no/file"), []string{"--cluster-token", "@/no/file", "cannot be read"}},
		"NATS and a listener": {[]string{"--cluster-name", "a", "--cluster-nats", "nats://10.0.0.1:4222", "--cluster-listen", "127.0.0.1:6222"},
			[]string{"--cluster-listen", "leave one of them off"}},
		"NATS and a store":              {append(oneNode, "--cluster-nats", "nats://10.0.0.1:4222"), []string{"--store-dir", "leave one of them off"}},
		"NATS and a token":              {[]string{"--cluster-name", "a", "--cluster-nats", "nats://10.0.0.1:4222", "--cluster-token", shownKey}, []string{"--cluster-token", "leave one of them off"}},
		"NATS by http":                  {[]string{"--cluster-name", "a", "--cluster-nats", "http://" + shownKey + "@10.0.0.1:4222"}, []string{"--cluster-nats", "nats://"}},
		"NATS nowhere":                  {[]string{"--cluster-name", "a", "--cluster-nats", shownKey}, []string{"--cluster-nats", "nats://"}},
		"NATS in pieces":                {[]string{"--cluster-name", "a", "--cluster-nats", "nats://a:" + shownKey + "%zz@10.0.0.1"}, []string{"--cluster-nats", "nats://"}},
		"a certificate without its key": {append(threeNodes, "--cluster-tls-cert", "/cert.pem"), []string{"--cluster-tls-cert", "--cluster-tls-key"}},
		"an authority alone":            {append(threeNodes, "--cluster-tls-ca", "/cert.pem"), []string{"--cluster-tls-ca", "--cluster-tls-cert"}},
		"a key on the command line":     {append(threeNodes, "--cluster-tls-cert", "/cert.pem", "--cluster-tls-ca", "/cert.pem", "--cluster-tls-key", "-----BEGIN PRIVATE KEY-----"+shownKey), []string{"--cluster-tls-key"}},
		"a key that is another's": {append(threeNodes, "--cluster-tls-cert", "/cert.pem", "--cluster-tls-key", "/other.pem", "--cluster-tls-ca", "/cert.pem"),
			[]string{"--cluster-tls-cert", "/other.pem"}},
		"an authority without a certificate": {append(threeNodes, "--cluster-tls-cert", "/cert.pem", "--cluster-tls-key", "/key.pem", "--cluster-tls-ca", "/key.pem"),
			[]string{"--cluster-tls-ca", "in PEM"}},
	} {
		_, err := world{files: certificates(t)}.hosted(c.args...)
		refused(t, what, err, c.wants...)
		if strings.Contains(fmt.Sprint(err), shownKey) {
			t.Errorf("%s: the error shows the secret: %v", what, err)
		}
	}
}

// certificates are files with a certificate that has signed itself, its key, and another one.
func certificates(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{"/other.pem", "/key.pem"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		template := &x509.Certificate{SerialNumber: big.NewInt(1)}
		if der, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err != nil {
			t.Fatal(err)
		}
		files["/cert.pem"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return files
}

func TestNodesBeyondThisMachineShowATokenOrACertificate(t *testing.T) {
	peers := []string{"--cluster-listen", "10.0.0.1:6222", "--cluster-peers", "10.0.0.1:6222,10.0.0.2:6222,10.0.0.3:6222"}
	certificate := []string{"--cluster-tls-cert", "/cert.pem", "--cluster-tls-key", "/key.pem", "--cluster-tls-ca", "/cert.pem"}
	certificate = slices.Clip(certificate)
	w := world{files: certificates(t)}
	for what, c := range map[string]struct {
		args []string
		want string // of a warning; empty: there is none
	}{
		"a token":                   {[]string{"--cluster-token", strings.Repeat("x", 16)}, "unencrypted"},
		"a certificate":             {certificate, ""},
		"both":                      {append(certificate, "--cluster-token", strings.Repeat("x", 16)), ""},
		"a certificate, and a word": {append(certificate, "--cluster-token", "short"), "shorter than 16 bytes"},
		"one replica":               {append(certificate, "--cluster-replicas", "1"), "one node alone"},
	} {
		s, err := w.hosted(slices.Concat(oneNode, peers, c.args)...)
		if err != nil {
			t.Errorf("%s: got %v, want it taken", what, err)
			continue
		}
		got := s.ClusterWarnings()
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: warned: got %q, want %q", what, got, c.want)
		}
		if c.want != "" && !strings.Contains(fmt.Sprint(s.Warnings()), c.want) {
			t.Errorf("%s: got %v for the log, want %q", what, s.Warnings(), c.want)
		}
		if strings.HasPrefix(what, "a certificate") && (s.Cluster.TLSCert != "/cert.pem" || s.Cluster.TLSKey != "/key.pem" || s.Cluster.CA != "/cert.pem") {
			t.Errorf("%s: got %+v, want its files", what, s.Cluster)
		}
	}
}

func TestTwoNodesMayBeHadWithOneReplica(t *testing.T) {
	s, err := world{}.hosted(append(oneNode, "--cluster-listen", "127.0.0.1:6222", "--cluster-peers", "127.0.0.1:6222,127.0.0.1:6223", "--cluster-replicas", "1")...)
	if err != nil || s.Cluster.Replicas != 1 || len(s.Cluster.Peers) != 2 {
		t.Errorf("got %+v, %v, want two nodes and one replica", s.Cluster, err)
	}
}

func TestServersOfNATSAreTakenWithTheirPasswords(t *testing.T) {
	s, err := world{files: map[string]string{"/nats": "nats://me:pass@10.0.0.1:4222\ntls://10.0.0.2\n"}}.hosted("--cluster-name", "a", "--cluster-nats", "@/nats", "--cluster-nats", "nats://10.0.0.3:4222, nats://10.0.0.4:4222")
	if want := "nats://me:pass@10.0.0.1:4222,tls://10.0.0.2,nats://10.0.0.3:4222,nats://10.0.0.4:4222"; err != nil || s.Cluster.NATS != want || s.Cluster.Replicas != 3 {
		t.Errorf("got %+v, %v, want %s and 3 replicas", s.Cluster, err, want)
	}
	if text := fmt.Sprintf("%+v", s.typed); strings.Contains(text, "pass") {
		t.Error("what was typed is kept with its password")
	}
}

func TestAProgramWithoutTheClusterRefusesItsName(t *testing.T) {
	var g struct {
		Globals
		Start struct{ Flags } `cmd:""`
	}
	src := world{}.source()
	src.NoCluster = true
	if _, err := Parse(src, &g, &g.Globals, append([]string{"start"}, oneNode...)); err != nil {
		t.Fatal(err)
	}
	_, err := g.Start.Settings(&g.Globals, "/r")
	refused(t, "a name", err, `--cluster-name "chat"`, "built without the cluster", "leave it off")
}

// A reload names every change of the cluster, also those of secrets and of what stands in files, and takes up none.
func TestAReloadNamesTheClusterAsWhatItCannotChange(t *testing.T) {
	files := certificates(t)
	files["/token"] = strings.Repeat("x", 20)
	args := append(slices.Clone(threeNodes), "--cluster-token", "@/token", "--cluster-tls-cert", "/cert.pem", "--cluster-tls-key", "/key.pem", "--cluster-tls-ca", "/cert.pem")
	before, err := world{files: files}.hosted(args...)
	if err != nil {
		t.Fatal(err)
	}
	others := certificates(t)
	others["/token"] = strings.Repeat("y", 20)
	for what, c := range map[string]struct {
		files map[string]string
		more  []string
		want  []string
	}{
		"nothing":       {files, nil, []string{}},
		"another wait":  {files, []string{"--cluster-wait", "20s"}, []string{"cluster-wait"}},
		"another node":  {files, []string{"--cluster-peers", "127.0.0.1:6225"}, []string{"cluster-peers"}},
		"another token": {map[string]string{"/token": others["/token"], "/cert.pem": files["/cert.pem"], "/key.pem": files["/key.pem"]}, nil, []string{"cluster-token"}},
		"certificates":  {map[string]string{"/token": files["/token"], "/cert.pem": others["/cert.pem"], "/key.pem": others["/key.pem"]}, nil, []string{"cluster-tls-cert", "cluster-tls-key", "cluster-tls-ca"}},
	} {
		read, err := world{files: c.files}.hosted(append(args, c.more...)...)
		if err != nil {
			t.Fatal(err)
		}
		next, changed, restart := before.Adopt(&read)
		if len(changed) > 0 || !slices.Equal(restart, c.want) || !reflect.DeepEqual(next.Cluster, before.Cluster) {
			t.Errorf("%s: got changes %v, and %q for a restart, want none and %q", what, changed, restart, c.want)
		}
		if _, _, again := next.Adopt(&read); !slices.Equal(again, c.want) {
			t.Errorf("%s: at a second reload: got %q, want %q again", what, again, c.want)
		}
	}
}

func TestAHistoryBeyondWhatTheLogKeepsIsWarnedOf(t *testing.T) {
	before, err := world{}.hosted(append(oneNode, "--history", "50")...)
	if err != nil {
		t.Fatal(err)
	}
	for history, want := range map[string]bool{"50": false, "20": false, "51": true} {
		read, err := world{}.hosted(append(oneNode, "--history", history)...)
		if err != nil {
			t.Fatal(err)
		}
		next, _, _ := before.Adopt(&read)
		if got := strings.Contains(fmt.Sprint(next.ClusterWarnings()), "keeps 50 messages of a group"); got != want {
			t.Errorf("--history %s after a reload: warned: got %v, want %v", history, got, want)
		}
	}
}

func TestMessagesThatTheLogDoesNotTakeAreWarnedOf(t *testing.T) {
	for most, want := range map[string]bool{"7MiB": false, "8MiB": true} {
		s, err := world{}.hosted(append(oneNode, "--message-max", most)...)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(fmt.Sprint(s.ClusterWarnings()), "up to 7MiB"); got != want {
			t.Errorf("--message-max %s: warned: got %v of %q, want %v", most, got, s.ClusterWarnings(), want)
		}
	}
}

func TestWhatIsFastHasNoHistory(t *testing.T) {
	_, err := parse(t, "--mode", "fast", "--history", "10")
	refused(t, "flags", err, `--mode "fast"`, "--history", "leave one of them off")
	_, err = parseConfig(`{"groups": [{"match": "a", "mode": "fast", "history": 5}]}`)
	refused(t, "a kind", err, `entry 1 of "groups" ("a")`, `"mode": "durable"`)
	_, err = parseConfig(`{"mode": "fast", "groups": [{"match": "a", "history": 5}]}`)
	refused(t, "a kind of what is fast", err, `entry 1 of "groups" ("a")`, `"mode": "durable"`)
	s, err := parseConfig(`{"history": 9, "groups": [{"match": "fast:*", "mode": "fast"}, {"match": "b", "mode": "fast", "history": "off"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		fast    bool
		history int
	}{{true, 0}, {true, 0}, {false, 9}} {
		if kind := s.Loop.AllKinds()[i]; kind.Fast != want.fast || kind.History != want.history {
			t.Errorf("kind %d: got fast %v and history %d, want %v and %d", i, kind.Fast, kind.History, want.fast, want.history)
		}
	}
	s, err = parseConfig(`{"mode": "fast", "groups": [{"match": "kept:*", "mode": "durable", "history": 5}]}`)
	if kinds := s.Loop.AllKinds(); err != nil || kinds[0].Fast || kinds[0].History != 5 || !kinds[1].Fast {
		t.Errorf("a durable kind where all others are fast: got %+v, %v", kinds, err)
	}
}

func TestAWordTooManyIsNotShownWhereItMayBeASecret(t *testing.T) {
	for _, args := range [][]string{
		{"--api-key", "first", shownKey}, {"--api-key=first", shownKey}, {"--cluster-token", "first", shownKey, "--loops", "2"},
	} {
		_, err := parse(t, args...)
		refused(t, args[0], err, "a word too many", "name a flag again")
		if strings.Contains(fmt.Sprint(err), shownKey) {
			t.Errorf("%q: the error shows the secret: %v", args, err)
		}
	}
	_, err := parse(t, "--loops", "2", "dance")
	refused(t, "where no secret is named", err, "dance")
}
