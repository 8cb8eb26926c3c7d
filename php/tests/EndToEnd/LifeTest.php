<?php

declare(strict_types=1);

namespace Folk\Tests\EndToEnd;

use Folk\Process\Frame;
use Folk\Tests\Support\WorkerProcess;
use PHPUnit\Framework\TestCase;

/** What happens before the first request, between requests, and around them. */
final class LifeTest extends TestCase
{
    public function testHooksRunBetweenRequests(): void
    {
        $worker = new WorkerProcess('reset.php');
        self::assertSame('count=1 resets=0', $worker->get('/')->body);
        self::assertSame('count=1 resets=1', $worker->get('/')->body);
        self::assertSame('count=1 resets=2', $worker->get('/')->body);
    }

    public function testAHookThatThrowsEndsTheWorkerAfterItsAnswer(): void
    {
        $worker = new WorkerProcess('reset.php');
        self::assertSame('count=1 resets=0', $worker->get('/break')->body);
        self::assertNull($worker->nextFrame());
        self::assertSame(255, $worker->exitCode());
        self::assertStringContainsString('cannot reset', $worker->stdout() . $worker->stderr());
    }

    public function testAWorkerForTasksOnlyRefusesHttp(): void
    {
        $worker = new WorkerProcess('tasks.php');
        self::assertStringContainsString('answers no HTTP requests', (string) $worker->get('/')->error);
        $worker->request(['task', '1', 'any', 'q', 1, []], 'abc');
        self::assertSame('cba', $worker->answer()->body);
        $worker->request(['task', '1', 'silent', 'q', 1, []], 'abc');
        self::assertSame(['', null], [($answer = $worker->answer())->body, $answer->error]);
        $worker->request(['method', 'x']);
        self::assertStringContainsString('pass methods to', (string) $worker->answer()->error);
    }

    public function testAChildThatExitsAnswersNothing(): void
    {
        if (!\function_exists('pcntl_fork')) {
            self::markTestSkipped('needs ext-pcntl');
        }
        $worker = new WorkerProcess('app.php');
        self::assertSame('parent', $worker->get('/fork')->body);
        self::assertTrue($worker->isSilent());
        self::assertSame("Hello, world!\n", $worker->get('/hello')->body);
    }

    public function testASlowStreamAsksAtEachChunkWhetherAnybodyReads(): void
    {
        $worker = new WorkerProcess(__DIR__ . '/../../../examples/hello/worker.php');
        $worker->request(WorkerProcess::context('GET', '/stream?ms=300'));
        self::assertCount(3, $worker->answer(stopAt: 1)->parts, 'the first, the one that asked, and the end');
    }

    public function testARequestInTheDialectOfRoadRunnerEndsTheWorker(): void
    {
        $worker = new WorkerProcess('app.php');
        $worker->send(Frame::encode(0x80, '', [0]));
        self::assertNull($worker->nextFrame());
        self::assertStringContainsString('not in the folk dialect', $worker->stdout() . $worker->stderr());
    }

    public function testAContextThatCannotBeReadIsAnError(): void
    {
        $worker = new WorkerProcess('app.php');
        $worker->send(WorkerProcess::tagged(Frame::encode(Frame::RAW, 'a:14:{i:0;s:4:"http";i:1;s:3:"GET";i:2;s:8:"/request";garbage', [61])));
        self::assertStringContainsString('not in the folk dialect', (string) $worker->answer()->error);
        self::assertSame(200, $worker->get('/hello')->status);
    }

    public function testEndOfTheServerEndsTheWorker(): void
    {
        $worker = new WorkerProcess('app.php');
        $worker->get('/hello');
        $worker->disconnect();
        self::assertSame(0, $worker->exitCode());
    }

    /** @return array{int, string} exit code and standard error */
    private static function runByHand(?string $relay): array
    {
        $env = $relay === null ? [] : ['RR_RELAY' => $relay];
        $script = __DIR__ . '/../workers/app.php';
        $process = \proc_open([\PHP_BINARY, $script], [['file', '/dev/null', 'r'], ['pipe', 'w'], ['pipe', 'w']], $pipes, null, $env);
        $text = \stream_get_contents($pipes[2]);

        return [\proc_close($process), (string) $text];
    }

    public function testStartedByHandItSaysWhatToType(): void
    {
        [$code, $text] = self::runByHand(null);
        self::assertSame(1, $code);
        self::assertSame("this script is a worker and is started by the server; type: folk serve -c folk.toml\n", $text);
    }

    public function testARelayThatIsNotThereIsNamed(): void
    {
        [$code, $text] = self::runByHand('unix:///nowhere/at/all.sock');
        self::assertSame(1, $code);
        self::assertStringStartsWith('cannot connect to /nowhere/at/all.sock: No such file', $text);
        [$code, $text] = self::runByHand('tcp://127.0.0.1:1');
        self::assertSame(1, $code);
        self::assertStringStartsWith('RR_RELAY is tcp://127.0.0.1:1', $text);
    }
}
