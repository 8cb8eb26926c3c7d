<?php

declare(strict_types=1);

namespace Folk\Tests\EndToEnd;

use Folk\Tests\Support\HttpTestCase;
use Folk\Tests\Support\WorkerProcess;

/** Over standard input and output. */
final class PipesTest extends HttpTestCase
{
    protected const RELAY = 'streams';

    protected function start(array $options = []): WorkerProcess
    {
        return new WorkerProcess('app.php', 'pipes', $options);
    }
}
