<?php

declare(strict_types=1);

namespace Folk\Tests\EndToEnd;

use Folk\Tests\Support\WorkerProcess;
use PHPUnit\Framework\TestCase;

/** The example that everybody runs first. */
final class HelloTest extends TestCase
{
    private WorkerProcess $worker;

    protected function setUp(): void
    {
        $this->worker = new WorkerProcess(__DIR__ . '/../../../examples/hello/worker.php');
    }

    protected function tearDown(): void
    {
        unset($this->worker);
    }

    public function testItGreets(): void
    {
        self::assertStringStartsWith('Hello, world!', $this->worker->get('/')->body);
        self::assertSame(404, $this->worker->get('/nowhere')->status);
    }

    public function testEveryHarmlessPageOfTheTourAnswers(): void
    {
        \preg_match_all('~href="(/\w+)"~', $this->worker->get('/tour')->body, $links);
        self::assertGreaterThan(10, \count($links[1]));
        foreach (\array_diff($links[1], ['/throw', '/exit', '/memory', '/segv', '/sleep', '/stream']) as $path) {
            $answer = $this->worker->get($path);
            self::assertSame([200, null], [$answer->status, $answer->error], $path);
        }
    }

    public function testPagesShowWhatWasSentAndNothingElse(): void
    {
        self::assertStringContainsString('Hello, &lt;b&gt;!', $this->worker->get('/hello?name=%3Cb%3E')->body);
        self::assertStringContainsString('"x-bytes"', $this->worker->get('/headers', ['x-bytes' => ["\xff"]])->body);
        $echo = $this->worker->http('POST', '/echo', ['content-type' => ['image/png']], "\x89PNG\0");
        self::assertSame([['image/png'], "\x89PNG\0"], [$echo->headers['content-type'], $echo->body]);
        $upload = $this->worker->http('POST', '/upload', [], '', ['note' => '<i>'], ['files' => []]);
        self::assertStringContainsString('&lt;i&gt;', $upload->body);
        self::assertSame("slept 1 ms\n", $this->worker->get('/sleep?ms=1')->body);
        self::assertSame($this->worker->pid() . "\n", $this->worker->get('/pid')->body);
        self::assertSame(['chunk 1', 'chunk 5'], [\trim(($parts = $this->worker->get('/stream?ms=0')->parts)[0]), \trim($parts[4])]);
        self::assertSame(103, $this->worker->get('/early')->informational[0][0]);
    }

    public function testHarmIsAnsweredForWhereItCanBe(): void
    {
        self::assertStringContainsString('this was to be expected', (string) $this->worker->get('/throw')->error);
        self::assertStringContainsString('Allowed memory size', (string) $this->worker->get('/memory')->error);
        $this->setUp();
        self::assertStringStartsWith('exit() was called', (string) $this->worker->get('/exit')->error);
        $this->setUp();
        $this->worker->request(WorkerProcess::context('GET', '/segv'));
        self::assertNull($this->worker->nextFrame());
        self::assertSame(128 + 9, $this->worker->exitCode());
    }
}
