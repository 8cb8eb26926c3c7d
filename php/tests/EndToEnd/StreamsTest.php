<?php

declare(strict_types=1);

namespace Folk\Tests\EndToEnd;

use Folk\Tests\Support\HttpTestCase;
use Folk\Tests\Support\WorkerProcess;

/** Over PHP's own streams: -n keeps ext-sockets out where it is a shared library. */
final class StreamsTest extends HttpTestCase
{
    protected const RELAY = 'streams';

    protected function start(array $options = []): WorkerProcess
    {
        return new WorkerProcess('app.php', 'unix', ['-n', '-d', 'extension=pcntl', ...$options]);
    }
}
