<?php

declare(strict_types=1);

namespace Folk\Tests\EndToEnd;

use Folk\Tests\Support\HttpTestCase;
use Folk\Tests\Support\WorkerProcess;

/** Over ext-sockets. */
final class SocketsTest extends HttpTestCase
{
    protected const RELAY = 'sockets';

    protected function start(array $options = []): WorkerProcess
    {
        return new WorkerProcess('app.php', 'unix', $options);
    }
}
