<?php

declare(strict_types=1);

/*
 * A group-push server on Workerman 5 with workerman/channel 1.2 (both MIT):
 * the design of the manual's "multi-process group push" example.
 *
 *   php server.php start --port N [--form usual|batch]
 *
 * usual: 8 worker processes take the connections of one listening socket. Each
 * holds its own members by group. A publish goes to the Channel process, which
 * carries it to all workers, the publisher's too, and so gives all messages
 * one order; each worker then calls send for its members, as the example does.
 *
 * batch: Workerman writes at once and never joins writes, but its send takes
 * bytes that are framed already (its second parameter). So a message is framed
 * once, and the frames that one turn of a worker's event loop has for a group
 * become one block, which a member gets in one write.
 *
 * Added to the example: leave_group, replies to commands with an id, and a
 * check of what arrives, because a TypeError ends a worker with all its clients.
 * The Channel listens on a Unix socket, as its documentation offers for
 * processes of one machine.
 *
 * Workerman takes the event extension (epoll) if PHP has it, which it suggests
 * for speed, else stream_select, with at most 1,024 descriptors per worker. The
 * banner on stderr says which it is, and whether PHP's JIT is on.
 */

use Channel\Client;
use Channel\Server;
use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Websocket;
use Workerman\Timer;
use Workerman\Worker;

require_once __DIR__ . '/vendor/autoload.php';

const WORKERS = 8;

// Workerman drops what does not fit into a connection's send buffer, 1 MB unless
// set: between workers and Channel that loses messages of a closed loop.
TcpConnection::$defaultMaxSendBufferSize = 64 << 20;

[$port, $form] = options($argv);

// Two servers on two ports must not share files.
$files = sys_get_temp_dir() . "/peer-workerman-$port";
Worker::$pidFile = "$files.pid";
Worker::$statusFile = "$files.status";
Worker::$logFile = '/dev/null';
// stdout is for the line that says that all workers are ready.
Worker::$outputStream = fopen('php://stderr', 'w');

$channel = "unix://$files.sock";
new Server($channel);

$groups = new Groups(); // after the fork every worker has its own

$worker = new Worker("websocket://127.0.0.1:$port");
$worker->name = 'GroupPush';
$worker->count = WORKERS;

$worker->onWorkerStart = function (Worker $worker) use ($groups, $form, $channel, $port): void {
    Client::connect($channel);
    Client::on('send_to_group', $form === 'batch' ? $groups->sendLater(...) : $groups->send(...));

    // Once a worker's subscription has arrived, so has what it sends after it:
    // the Channel's queue counts the workers that are ready.
    if ($worker->id === 0) {
        $ready = 0;
        Client::watch('ready', function () use (&$ready, $port): void {
            if (++$ready === WORKERS) {
                fwrite(STDOUT, "listening 127.0.0.1:$port\n");
            }
        });
    }
    Client::enqueue('ready', $worker->id);
};

$worker->onMessage = function (TcpConnection $connection, string $data) use ($groups): void {
    $command = json_decode($data, true);
    $group = is_array($command) ? $command['group_id'] ?? null : null;
    $known = (is_string($group) && $group !== '') || is_int($group);

    switch ($known ? $command['cmd'] ?? null : null) {
        case 'add_group':
            $groups->join($group, $connection);
            break;
        case 'leave_group':
            $groups->leave($group, $connection);
            break;
        case 'send_to_group':
            if (is_string($command['message'] ?? null)) {
                Client::publish('send_to_group', ['group_id' => $group, 'message' => $command['message']]);
                break;
            }
            // A message must be a text: no break.
        default:
            $connection->send('{"error":"bad command"}');
            return;
    }

    if (isset($command['id'])) {
        $connection->send(json_encode(['id' => $command['id'], 'ok' => true], JSON_UNESCAPED_UNICODE));
    }
};

// Without this, closed connections would stay in memory forever.
$worker->onClose = function (TcpConnection $connection) use ($groups): void {
    foreach ($connection->groups ?? [] as $group) {
        $groups->leave($group, $connection);
    }
};

Worker::runAll();

/** The groups of one worker. PHP's array keys make 123 and "123" one name. */
final class Groups
{
    /** @var array<string|int, array<int, TcpConnection>> name → connection id → connection */
    private array $members = [];

    /** @var array<string|int, string> batch: name → the frames of this turn */
    private array $blocks = [];

    public function join(string|int $group, TcpConnection $connection): void
    {
        $this->flush(); // earlier messages are not for this connection
        $this->members[$group][$connection->id] = $connection;
        $connection->groups ??= [];
        $connection->groups[$group] = $group;
    }

    public function leave(string|int $group, TcpConnection $connection): void
    {
        $this->flush(); // earlier messages still are
        unset($connection->groups[$group], $this->members[$group][$connection->id]);
        if (empty($this->members[$group])) {
            unset($this->members[$group]);
        }
    }

    /** @param array{group_id: string|int, message: string} $event */
    public function send(array $event): void
    {
        foreach ($this->members[$event['group_id']] ?? [] as $connection) {
            $connection->send($event['message']);
        }
    }

    /** @param array{group_id: string|int, message: string} $event */
    public function sendLater(array $event): void
    {
        $group = $event['group_id'];
        if (!isset($this->members[$group])) {
            return;
        }
        if ($this->blocks === []) {
            Timer::delay(0, $this->flush(...)); // runs when the turn's sockets are read
        }
        // Without compression one member's frame is every member's.
        $any = $this->members[$group][array_key_first($this->members[$group])];
        $this->blocks[$group] = ($this->blocks[$group] ?? '') . Websocket::encode($event['message'], $any);
    }

    private function flush(): void
    {
        $blocks = $this->blocks;
        $this->blocks = [];
        foreach ($blocks as $group => $block) {
            foreach ($this->members[$group] ?? [] as $connection) {
                $connection->send($block, true);
            }
        }
    }
}

/**
 * Workerman's own command and modes are among our arguments.
 *
 * @return array{int, string} port and form
 */
function options(array $arguments): array
{
    $values = ['--port' => '', '--form' => 'usual'];
    $wrong = '';
    for ($i = 1; $i < count($arguments); $i++) {
        [$name, $value] = explode('=', $arguments[$i], 2) + [1 => null];
        if (isset($values[$name])) {
            $values[$name] = $value ?? $arguments[++$i] ?? '';
        } elseif (str_starts_with($name, '--')) {
            $wrong = "unknown option $name";
        }
    }
    $port = filter_var($values['--port'], FILTER_VALIDATE_INT, ['options' => ['min_range' => 1, 'max_range' => 65535]]);
    if ($port === false) {
        $wrong = '--port needs a number from 1 to 65535';
    } elseif (!in_array($values['--form'], ['usual', 'batch'], true)) {
        $wrong = '--form is usual or batch';
    }
    if ($wrong !== '') {
        fwrite(STDERR, "$wrong\nusage: php server.php start --port N [--form usual|batch]\n");
        exit(2);
    }
    return [$port, $values['--form']];
}
