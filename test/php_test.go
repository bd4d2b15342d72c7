package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These tests run the real thing beside ringcast: Workerman and its Channel, by PHP. RINGCAST_PHP names a directory into
// which composer has installed workerman/workerman and workerman/channel; nothing of them is kept here.

// phpFolder is read before TestMain takes the variable away from the servers under test.
var phpFolder = os.Getenv("RINGCAST_PHP")

// phpLibrary is the file that loads the libraries. Without them the test is skipped, and says so.
func phpLibrary(t testing.TB) string {
	t.Helper()
	if phpFolder == "" {
		t.Skip("RINGCAST_PHP names no directory with vendor/autoload.php of workerman/workerman and workerman/channel")
	}
	load := filepath.Join(phpFolder, "vendor", "autoload.php")
	if _, err := os.Stat(load); err != nil {
		t.Fatalf("RINGCAST_PHP: %v", err)
	}
	if _, err := exec.LookPath("php"); err != nil {
		t.Fatalf("RINGCAST_PHP is set, and there is no php: %v", err)
	}
	return load
}

// groupWorkers does what the original's workers do, in less code.
const groupWorkers = `
$worker = new Workerman\Worker('websocket://%[1]s');
$worker->count = 8;
$members = [];
$worker->onWorkerStart = function() {
	Channel\Client::connect('%[2]s', %[3]s);
	Channel\Client::on('send_to_group', function($event) {
		global $members;
		foreach ($members[$event['group_id']] ?? [] as $member) {
			$member->send($event['message']);
		}
	});
};
$worker->onMessage = function($client, $text) {
	global $members;
	$command = json_decode($text, true);
	if ($command['cmd'] == 'add_group') {
		$members[$command['group_id']][$client->id] = $client;
	} else {
		Channel\Client::publish('send_to_group', ['group_id' => $command['group_id'], 'message' => $command['message']]);
	}
};
`

// workerman is a running Workerman program.
type workerman struct {
	cmd  *exec.Cmd
	out  *output
	over chan struct{}
}

// startWorkerman runs a program of Workerman until the test ends.
func startWorkerman(t testing.TB, program string) *workerman {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "start.php")
	head := fmt.Sprintf("<?php\nrequire '%s';\nWorkerman\\Worker::$pidFile = '%s/pid';\nWorkerman\\Worker::$logFile = '%s/log';\n",
		phpLibrary(t), dir, dir)
	must(t, os.WriteFile(file, []byte(head+program+"\nWorkerman\\Worker::runAll();\n"), 0o600))
	w := &workerman{cmd: exec.Command("php", file, "start"), out: &output{}, over: make(chan struct{})}
	w.cmd.Stdout, w.cmd.Stderr = w.out, w.out
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, w.cmd.Start())
	go func() {
		w.cmd.Wait()
		close(w.over)
	}()
	t.Cleanup(func() {
		w.kill()
		if t.Failed() {
			t.Logf("Workerman said: %s", w.out.String())
		}
	})
	return w
}

// kill ends the program with all its processes.
func (w *workerman) kill() {
	_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL) // it may have ended already
	<-w.over
}

func listens(addr string) func() error {
	return func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	}
}

// phpMember is a WebSocket client of Workerman that is in a group. The original answers nothing; a message that comes
// back from a group of its own was sent after the join.
func phpMember(t testing.TB, addr, group string, number int) *client {
	t.Helper()
	c, err := open(addr, dialing{})
	must(t, err)
	t.Cleanup(c.hangUp)
	own := fmt.Sprintf("own %d", number)
	must(t, c.commands(joinCommand(group), joinCommand(own)))
	attempt := 0
	eventually(t, "its worker is connected to the Channel server", func() error {
		attempt++
		text := fmt.Sprintf("attempt %d", attempt) // so that a late one is not taken for another
		if err := c.text(sendCommand(own, text)); err != nil {
			return err
		}
		for {
			ev, err := c.readUntil(time.Now().Add(time.Second))
			if err != nil || ev.text == text {
				return err
			}
		}
	})
	return c
}

// share has members on both sides talk at the same time. It returns what the members of each side got.
func share(t *testing.T, s *server, phpAddr string) (onRingcast, onPHP [][]string) {
	t.Helper()
	const senders, each, members = 3, 200, 8
	var mine, theirs []*client
	for i := range members {
		mine = append(mine, member(t, s, "room"))
		theirs = append(theirs, phpMember(t, phpAddr, "room", i))
	}
	errs := make(chan error, 2*senders)
	for i := range senders {
		for side, c := range map[string]*client{"ringcast": mine[i], "php": theirs[i]} {
			go func() {
				for n := range each {
					if err := c.text(sendCommand("room", fmt.Sprintf("%s %d: %d", side, i, n))); err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
	}
	for range 2 * senders {
		must(t, <-errs)
	}
	collect := func(what string, from []*client) (all [][]string) {
		for i, c := range from {
			got, err := c.collect(2 * senders * each)
			if err != nil {
				t.Fatalf("%s %d: %v, after %d", what, i, err, len(got))
			}
			once := slices.Clone(got)
			slices.Sort(once)
			equal(t, what+": different messages", len(slices.Compact(once)), 2*senders*each)
			all = append(all, got)
		}
		return all
	}
	onRingcast, onPHP = collect("a member on ringcast", mine), collect("a member on PHP", theirs)
	for _, got := range onRingcast[1:] {
		equalTexts(t, "order on ringcast", got, onRingcast[0])
	}
	return onRingcast, onPHP
}

func TestPHPWorkersAndRingcastShareGroupsThroughRingcastsChannel(t *testing.T) {
	phpLibrary(t)
	s := start(t, "--channel", "127.0.0.1:0")
	host, port, _ := net.SplitHostPort(s.channel().Addr)
	addr := freeAddr(t)
	startWorkerman(t, fmt.Sprintf(groupWorkers, addr, host, port))
	s.eventually("all workers are subscribed", func() error {
		if got := s.channel().Subscriptions; got != 8 {
			return fmt.Errorf("got %d subscriptions", got)
		}
		return nil
	})
	onRingcast, onPHP := share(t, s, addr)
	for _, got := range onPHP {
		equalTexts(t, "order on PHP", got, onRingcast[0])
	}
}

func TestAPHPPageWithoutAnEventLoopReachesBrowsers(t *testing.T) {
	load := phpLibrary(t)
	s := start(t, "--channel", "127.0.0.1:0")
	host, port, _ := net.SplitHostPort(s.channel().Addr)
	m := member(t, s, "123")
	out, err := exec.Command("php", "-r", fmt.Sprintf(`require '%s'; Channel\Client::connect('%s', %s);
		Channel\Client::publish('send_to_group', ['group_id' => 123, 'message' => '這個是消息']);
		Channel\Client::publish('send_to_group', ['group_id' => '123', 'message' => ['list' => [1, 2.5, true, null]]]);`, load, host, port)).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Fatalf("php: %v %s", err, out)
	}
	m.expect(t, "這個是消息", `{"list":[1,2.5,true,null]}`)
}

func TestPHPWorkersAndRingcastShareGroupsThroughPHPsChannel(t *testing.T) {
	phpLibrary(t)
	channel := freeAddr(t)
	host, port, _ := net.SplitHostPort(channel)
	server := fmt.Sprintf("new Channel\\Server('%s', %s);", host, port)
	phpServer := startWorkerman(t, server)
	eventually(t, "PHP's Channel server listens", listens(channel))
	addr := freeAddr(t)
	startWorkerman(t, fmt.Sprintf(groupWorkers, addr, host, port))
	s := start(t, "--channel-connect", channel)
	state := func(want bool) func() error {
		return func() error {
			if st := s.channel(); st.Connected != want {
				return fmt.Errorf("got %+v", st)
			}
			return nil
		}
	}
	s.eventually("ringcast is connected", state(true))
	eventually(t, "Workerman listens", listens(addr))
	share(t, s, addr)

	// The server is killed with events on their way, and restarted.
	m := member(t, s, "room")
	phpServer.kill()
	s.eventually("ringcast has noticed", state(false))
	for i := range 10 {
		must(t, m.text(sendCommand("room", fmt.Sprintf("while it was away %d", i))))
	}
	restarted := time.Now()
	startWorkerman(t, server)
	s.eventually("ringcast is back", state(true))
	t.Logf("ringcast was back %s after PHP was told to start its server again", time.Since(restarted).Round(time.Millisecond))
	s.eventually("what waited was sent", func() error {
		if st := s.channel(); st.WaitingBytes != 0 {
			return fmt.Errorf("got %+v", st)
		}
		return nil
	})
	equal(t, "reconnects", s.channel().Reconnects, 1)
	equal(t, "refused", s.channel().Refused["buffer"], 0)
	back := phpMember(t, addr, "back", 100) // through the new server
	mine := member(t, s, "back")
	must(t, back.text(sendCommand("back", "from PHP")))
	mine.expect(t, "from PHP")
	back.expect(t, "from PHP")
	t.Logf("and all workers' messages went through after %s", time.Since(restarted).Round(time.Millisecond))
	must(t, mine.text(sendCommand("back", "from ringcast")))
	mine.expect(t, "from ringcast")
	back.expect(t, "from ringcast")
}

// What PHP serializes is what ringcast carries: objects, references and names of both kinds arrive as they were sent.
func TestPHPDataArrivesAsItWasPublished(t *testing.T) {
	phpLibrary(t)
	s := start(t, "--channel", "127.0.0.1:0")
	host, port, _ := net.SplitHostPort(s.channel().Addr)
	w := startWorkerman(t, fmt.Sprintf(`
	enum Suit: string { case Hearts = 'h'; }
	class Node { public $next; protected $a = 1; private $b = [2]; }
	$node = new Node; $node->next = $node; $shared = 'text'; $list = [1, &$shared, &$shared, $node, $node];
	$things = [null, true, false, 0, -5, PHP_INT_MAX, PHP_INT_MIN, 0.5, 1e300, INF, -INF, '', "a\0b\"};", [], [1, 'k' => ['deep' => [2]]],
		$list, ['x' => &$list, 'y' => &$list], new ArrayObject([1, $node, $node]), Suit::Hearts, [Suit::Hearts, Suit::Hearts]];
	$worker = new Workerman\Worker();
	$worker->onWorkerStart = function() use ($things) {
		Channel\Client::connect('%s', %s);
		$got = 0;
		foreach (['text', '123', 456, 'send_to_group'] as $name) {
			Channel\Client::on($name, function($data) use (&$got, $things, $name) {
				$want = $things[$data['n']];
				if (serialize($data['thing']) !== serialize($want)) {
					echo "DIFFERENT on $name: ", serialize($data['thing']), ' and not ', serialize($want), "\n";
				}
				if (++$got == 4 * count($things)) {
					echo "COMPLETE\n";
				}
			});
		}
		foreach ($things as $n => $thing) {
			Channel\Client::publish(['text', '123', 456], ['n' => $n, 'thing' => $thing]);
			Channel\Client::publish('send_to_group', ['n' => $n, 'thing' => $thing]);
		}
	};`, host, port))
	s.eventually("all data is there", func() error {
		if !strings.Contains(w.out.String(), "COMPLETE") {
			return fmt.Errorf("got %s, %+v", w.out.String(), s.channel())
		}
		return nil
	})
	if strings.Contains(w.out.String(), "DIFFERENT") || strings.Contains(w.out.String(), "Exception") {
		t.Error(w.out.String())
	}
}

func TestPHPQueuesWork(t *testing.T) {
	phpLibrary(t)
	s := start(t, "--channel", "127.0.0.1:0")
	host, port, _ := net.SplitHostPort(s.channel().Addr)
	w := startWorkerman(t, fmt.Sprintf(`
	$worker = new Workerman\Worker();
	$worker->count = 3;
	$worker->onWorkerStart = function($worker) {
		Channel\Client::connect('%s', %s);
		Channel\Client::watch(['jobs', 7], function($job) { echo "JOB $job\n"; });
		if ($worker->id == 0) {
			for ($i = 0; $i < 100; $i++) {
				Channel\Client::enqueue($i %% 2 ? 'jobs' : '7', $i);
			}
		}
	};`, host, port))
	s.eventually("each job was done once", func() error {
		for i := range 100 {
			if n := strings.Count(w.out.String(), fmt.Sprintf("JOB %d\n", i)); n != 1 {
				return fmt.Errorf("job %d was done %d times; %+v", i, n, s.channel())
			}
		}
		return nil
	})
}
