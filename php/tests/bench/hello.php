<?php

declare(strict_types=1);

/*
 * What one hello costs a worker: php tests/bench/hello.php [ROUNDS]
 *
 * Sends the same request over and over to a worker on a Unix socket and times whole round trips;
 * then the worker's own processor time, from /proc, says how much of it was spent in PHP.
 */

use Folk\Tests\Support\WorkerProcess;

require __DIR__ . '/../bootstrap.php';

$rounds = (int) ($argv[1] ?? 100000);
$headers = [
    'host' => ['127.0.0.1:8080'], 'user-agent' => ['Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0'],
    'accept' => ['text/html,application/xhtml+xml'], 'accept-encoding' => ['gzip, deflate, br, zstd'], 'accept-language' => ['en'],
];

function processorSeconds(int $pid): float
{
    $fields = \explode(' ', \substr(\strrchr(\file_get_contents("/proc/$pid/stat"), ')'), 2));

    return ((int) $fields[11] + (int) $fields[12]) / 100;
}

$variants = ['ext-sockets' => [[], 'unix'], 'ext-sockets, opcache' => [['-d', 'opcache.enable_cli=1'], 'unix'],
    'no ext-sockets' => [['-n'], 'unix'], 'pipes' => [[], 'pipes']];
foreach ($variants as $name => [$options, $relay]) {
    foreach (['/' => 'a string, nothing read', '/path' => 'the path read', '/response' => 'a Response'] as $target => $what) {
        $worker = new WorkerProcess(__DIR__ . '/worker.php', $relay, $options);
        $frame = WorkerProcess::encode(WorkerProcess::context('GET', $target, $headers));
        for ($round = 0; $round < 1000; ++$round) {
            $worker->send($frame);
            $worker->nextFrame();
        }
        $started = \hrtime(true);
        $before = processorSeconds($worker->pid());
        for ($round = 0; $round < $rounds; ++$round) {
            $worker->send($frame);
            $worker->nextFrame();
        }
        $total = (\hrtime(true) - $started) / 1000 / $rounds;
        $used = (processorSeconds($worker->pid()) - $before) * 1e6 / $rounds;
        \printf("%-22s %-24s %6.2f µs a round trip, %5.2f µs of the worker's processor time\n", $name, $what, $total, $used);
        unset($worker);
    }
}
