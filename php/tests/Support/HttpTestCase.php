<?php

declare(strict_types=1);

namespace Folk\Tests\Support;

use Folk\Process\Frame;
use PHPUnit\Framework\TestCase;

/** What handlers return, over each of the three relays. */
abstract class HttpTestCase extends TestCase
{
    protected const RELAY = '';

    private WorkerProcess $worker;

    /** @param list<string> $options of the php command */
    abstract protected function start(array $options = []): WorkerProcess;

    protected function setUp(): void
    {
        $this->worker = $this->start();
    }

    protected function tearDown(): void
    {
        unset($this->worker);
    }

    public function testTheWorkerIntroducesItself(): void
    {
        self::assertSame(
            ['pid' => $this->worker->pid(), 'dialect' => 'folk/1', 'php' => \PHP_VERSION],
            $this->worker->hello,
        );
    }

    public function testItUsesTheRelayItIsMeantTo(): void
    {
        self::assertSame(static::RELAY, $this->worker->get('/relay')->body);
    }

    public function testAStringIsAPage(): void
    {
        for ($round = 0; $round < 3; ++$round) {
            $answer = $this->worker->get('/hello');
            self::assertSame(200, $answer->status);
            self::assertSame(['content-type' => ['text/html; charset=UTF-8']], $answer->headers);
            self::assertSame(["Hello, world!\n"], $answer->parts);
        }
    }

    public function testAnArrayIsJsonAndNullIsNoContent(): void
    {
        $answer = $this->worker->get('/array');
        self::assertSame(['content-type' => ['application/json']], $answer->headers);
        self::assertSame('{"a":1,"path":"/ü"}', $answer->body);

        $answer = $this->worker->get('/null');
        self::assertSame([204, [], ''], [$answer->status, $answer->headers, $answer->body]);
    }

    public function testAnythingElseIsAnErrorThatNamesIt(): void
    {
        self::assertStringContainsString('not Nowhere', (string) $this->worker->get('/object')->error);
        self::assertSame(200, $this->worker->get('/hello')->status);
    }

    public function testRepeatedAndNonUtf8HeadersSurviveInBothDirections(): void
    {
        $headers = ['host' => ['example.org'], 'x-twice' => ['1', '2'], 'x-bytes' => ["caf\xe9 \xff\x80"]];
        $answer = $this->worker->get("/request?\xe4=1", $headers);
        self::assertSame(['GET', "/request?\xe4=1", $headers, null, []], \unserialize($answer->body));

        $answer = $this->worker->get('/repeat');
        self::assertSame(['x-bytes' => ["\xff\xfe"], 'set-cookie' => ['a=1', 'b=2', 'c=3']], $answer->headers);
    }

    public function testParsedBodiesAndUploadsArriveAsTheyAre(): void
    {
        $file = ['name' => "\xff.txt", 'type' => 'text/plain', 'size' => 3, 'tmp_name' => '/tmp/x', 'error' => 0];
        $answer = $this->worker->http('POST', '/request', [], '', ['a' => ['b' => '1']], ['docs' => [$file]]);
        self::assertSame(['POST', '/request', [], ['a' => ['b' => '1']], ['docs' => [$file]]], \unserialize($answer->body));
    }

    public function testTenMebibytesPassInBothDirections(): void
    {
        $body = \str_repeat(\random_bytes(1024), 10240);
        $answer = $this->worker->http('POST', '/echo', [], $body);
        self::assertSame(201, $answer->status);
        self::assertSame([(string) \strlen($body)], $answer->headers['x-length']);
        self::assertTrue($answer->body === $body, 'the body came back changed');
        self::assertSame("Hello, world!\n", $this->worker->get('/hello')->body);
    }

    public function testABodyIsHeldOnce(): void
    {
        $worker = $this->start(['-d', 'memory_limit=40M']);
        $body = \str_repeat(\random_bytes(1024), 32 << 10);
        foreach ([1, 2, 3] as $ignored) {
            $answer = $worker->http('POST', '/length', [], $body);
            self::assertSame([null, \strlen($body) . ' ' . \md5($body)], [$answer->error, $answer->body]);
        }
        $worker->request(['method', 'measure'], $body);
        self::assertSame((string) \strlen($body), $worker->answer()->body);
        $worker->request(['task', 'id', 'measure', 'default', 1, []], $body);
        self::assertSame((string) \strlen($body), $worker->answer()->body);
    }

    public function testALargeStringIsOneFrame(): void
    {
        $answer = $this->worker->get('/large?n=40000000');
        self::assertSame([40000000, 1], [\strlen($answer->body), \count($answer->parts)]);
    }

    public function testAStringTooLargeForOneFrameIsSentInParts(): void
    {
        $worker = $this->start(['-d', 'folk_test.largest_frame=16000000']);
        $answer = $worker->get('/large?n=20000000');
        self::assertSame(['20000000'], $answer->headers['content-length']);
        self::assertSame(20000000, \strlen($answer->body));
        self::assertGreaterThan(15, \count($answer->parts));
        self::assertLessThanOrEqual(1 << 20, \max(\array_map('strlen', $answer->parts)));
    }

    public function testAFrameThatComesByteByByteIsPutTogether(): void
    {
        foreach (\str_split(WorkerProcess::encode(WorkerProcess::context('GET', '/hello'))) as $byte) {
            $this->worker->send($byte);
        }
        self::assertSame("Hello, world!\n", $this->worker->answer()->body);
    }

    public function testAGeneratorIsSentChunkByChunk(): void
    {
        $answer = $this->worker->get('/stream');
        self::assertSame(202, $answer->status);
        self::assertSame(['x-kind' => ['stream']], $answer->headers);
        self::assertSame(['one', 'two', ''], $answer->parts);
    }

    public function testAnEmptyFirstChunkSendsTheHead(): void
    {
        self::assertSame(['', 'late', ''], $this->worker->get('/head-first')->parts);
    }

    public function testClosuresStreamsAndListsAreBodies(): void
    {
        self::assertSame(['a', 'b', ''], $this->worker->get('/closure')->parts);
        self::assertSame(\str_repeat('r', 300000), $this->worker->get('/resource')->body);
        $answer = $this->worker->get('/empty-stream');
        self::assertSame([203, ['']], [$answer->status, $answer->parts]);
    }

    public function testAFileIsSentFromWhereItStands(): void
    {
        $rest = \substr((string) \file_get_contents(__DIR__ . '/../workers/app.php'), 5);
        self::assertSame($rest, $this->worker->get('/file-stream')->body);
    }

    public function testSignalsInterruptNothing(): void
    {
        if (!\function_exists('posix_kill') || $this->worker->get('/signals')->body !== 'caught') {
            self::markTestSkipped('needs ext-pcntl');
        }
        $this->worker->awaitSleep(); // in the wait for the next request
        \posix_kill($this->worker->pid(), \SIGUSR1);
        self::assertSame("Hello, world!\n", $this->worker->get('/hello')->body);
        self::assertStringContainsString('signal', $this->log());
        $this->worker->request(WorkerProcess::context('GET', '/large?n=9000000'));
        $first = $this->worker->part(4096);
        $this->worker->awaitSleep(); // until the rest is read
        \posix_kill($this->worker->pid(), \SIGUSR1);
        $answer = $this->worker->answer(beginning: $first);
        self::assertTrue($answer->body === \str_repeat('0123456789', 900000), 'the body came changed');
        self::assertSame("Hello, world!\n", $this->worker->get('/hello')->body);
    }

    public function testLargeChunksAreCutToOneMebibyte(): void
    {
        $sizes = \array_map('strlen', $this->worker->get('/one-large-chunk')->parts);
        self::assertSame([1 << 20, 1 << 20, (1 << 19) + 1, 0], $sizes);
    }

    public function testAStreamThatNobodyReadsIsStoppedAndItsGeneratorClosed(): void
    {
        $this->worker->request(WorkerProcess::context('GET', '/endless'));
        $answer = $this->worker->answer(stopAt: 3);
        self::assertSame(3, $answer->pings);
        self::assertLessThanOrEqual(25, \count($answer->parts), 'eight parts a ping, and the end');
        self::assertSame('1', $this->worker->get('/closed')->body);
    }

    public function testAStopThatComesTooLateIsIgnored(): void
    {
        $stop = Frame::encode(Frame::CONTROL, '', [], Frame::STOP);
        $this->worker->send($stop . WorkerProcess::encode(WorkerProcess::context('GET', '/hello')));
        self::assertSame("Hello, world!\n", $this->worker->answer()->body);
        self::assertCount(3, $this->worker->get('/stream')->parts);
    }

    public function testEarlyHintsGoAhead(): void
    {
        $answer = $this->worker->get('/early');
        self::assertSame([
            [103, ['link' => ['</a.css>; rel=preload', '</b.js>; rel=preload']]],
            [103, ['link' => ['</c.css>; rel=preload']]],
        ], $answer->informational);
        self::assertSame('after the hints', $answer->body);
        self::assertSame(['begun', ''], $this->worker->get('/early-too-late')->parts);
    }

    public function testAnExceptionIsToldToTheServerAndTheWorkerGoesOn(): void
    {
        $pid = $this->worker->get('/pid')->body;
        $error = (string) $this->worker->get('/throw')->error;
        self::assertMatchesRegularExpression('~^RuntimeException: boom in /.*/workers/app\.php:\d+\n#0 ~', $error);
        self::assertStringContainsString("\ncaused by LogicException: the cause in /", $error);

        $answer = $this->worker->get('/throw-before');
        self::assertSame([], $answer->parts);
        self::assertStringStartsWith('RuntimeException: before the first', (string) $answer->error);

        $answer = $this->worker->get('/throw-midway');
        self::assertSame(['some'], $answer->parts);
        self::assertStringStartsWith('RuntimeException: midway', (string) $answer->error);
        self::assertSame($pid, $this->worker->get('/pid')->body);
    }

    public function testAKeptResponseIsSentInFullEachTime(): void
    {
        foreach (['string', 'array', 'closure'] as $kind) {
            for ($round = 0; $round < 3; ++$round) {
                $answer = $this->worker->get("/kept?kind=$kind");
                self::assertSame([200, 'the same'], [$answer->status, $answer->body], $kind);
            }
        }
    }

    public function testAKeptResponseWhoseBodyIsUsedUpIsAnError(): void
    {
        foreach (['generator', 'resource'] as $kind) {
            self::assertSame('once', $this->worker->get("/kept?kind=$kind")->body);
            $answer = $this->worker->get("/kept?kind=$kind");
            self::assertStringContainsString('the body of this response was sent before', (string) $answer->error, $kind);
        }
    }

    public function testOutputDoesNotReachTheAnswer(): void
    {
        self::assertSame('quiet', $this->worker->get('/echo-out')->body);
        self::assertSame("Hello, world!\n", $this->worker->get('/hello')->body);
        self::assertStringContainsString('noise on standard output', $this->log());
        self::assertStringContainsString('noise of a child', $this->log());
    }

    public function testStandardInputIsEmpty(): void
    {
        self::assertSame('0 bytes', $this->worker->get('/stdin')->body);
    }

    public function testBuffersLeftOpenAreClosedIntoTheLog(): void
    {
        $level = $this->worker->get('/level')->body;
        self::assertSame('buffered', $this->worker->get('/buffers')->body);
        self::assertSame($level, $this->worker->get('/level')->body);
        self::assertStringContainsString('left in a buffer', $this->log());
    }

    public function testTheTimeLimitIsPutBack(): void
    {
        $this->worker->get('/time-limit');
        self::assertSame('0', $this->worker->get('/limit')->body);
    }

    public function testSuperglobalsStayEmpty(): void
    {
        $answer = $this->worker->http('POST', '/superglobals?a=1', ['cookie' => ['b=2']], '', ['c' => '3']);
        self::assertSame('[[],[],[],[]]', $answer->body);
    }

    public function testExitIsAnsweredAndEndsTheWorker(): void
    {
        self::assertStringStartsWith('exit() was called', (string) $this->worker->get('/exit')->error);
        self::assertNull($this->worker->nextFrame());
        self::assertSame(0, $this->worker->exitCode());
    }

    public function testExitShowsWhatWasBuffered(): void
    {
        self::assertStringEndsWith("output so far:\nhalf a page", (string) $this->worker->get('/exit-buffered')->error);
    }

    public function testExitInTheMiddleOfAStreamEndsIt(): void
    {
        $answer = $this->worker->get('/exit-midway');
        self::assertSame(['some'], $answer->parts);
        self::assertStringStartsWith('exit() was called', (string) $answer->error);
    }

    public function testAnExhaustedMemoryIsAnswered(): void
    {
        $error = (string) $this->worker->get('/memory')->error;
        self::assertMatchesRegularExpression('~^fatal error: Allowed memory size of 16777216 bytes exhausted.* in /.*:\d+$~', $error);
        self::assertNull($this->worker->nextFrame());
        self::assertSame(255, $this->worker->exitCode());
    }

    public function testAFatalErrorIsAnswered(): void
    {
        self::assertStringStartsWith('fatal error: Cannot declare class Twice', (string) $this->worker->get('/fatal')->error);
        self::assertSame(255, $this->worker->exitCode());
    }

    public function testTheTextOfAFatalErrorIsCut(): void
    {
        $error = (string) $this->worker->get('/long-fatal')->error;
        self::assertMatchesRegularExpression('~^fatal error: x{8192}… in /.*/workers/app\.php:\d+$~D', $error);
    }

    public function testAnErrorHandlerThatThrowsWhatIsSilencedEndsNothing(): void
    {
        $pid = $this->worker->get('/pid')->body;
        self::assertSame('strict', $this->worker->get('/strict')->body);
        self::assertSame($pid, $this->worker->get('/pid')->body);
    }

    public function testAnErrorHandlerThatThrowsWhatIsSilencedKeepsNoExitFromBeingAnswered(): void
    {
        self::assertStringStartsWith('exit() was called', (string) $this->worker->get('/strict-exit')->error);
    }

    public function testAnErrorHandlerThatThrowsWhatIsSilencedLeavesSignalsHarmless(): void
    {
        if (!\function_exists('posix_kill') || !\function_exists('pcntl_signal')) {
            self::markTestSkipped('needs ext-pcntl');
        }
        self::assertSame('strict', $this->worker->get('/strict-signals')->body);
        $this->worker->awaitSleep();
        \posix_kill($this->worker->pid(), \SIGUSR1);
        self::assertSame("Hello, world!\n", $this->worker->get('/hello')->body);
        $this->worker->request(WorkerProcess::context('GET', '/large?n=9000000'));
        $first = $this->worker->part(4096);
        $this->worker->awaitSleep();
        \posix_kill($this->worker->pid(), \SIGUSR1);
        self::assertTrue($this->worker->answer(beginning: $first)->body === \str_repeat('0123456789', 900000));
        self::assertSame("Hello, world!\n", $this->worker->get('/hello')->body);
    }

    public function testAWorkerThatWantsToEndAnswersFirst(): void
    {
        self::assertSame('the last', $this->worker->get('/stop')->body);
        self::assertNull($this->worker->nextFrame());
        self::assertSame(0, $this->worker->exitCode());
        self::assertStringContainsString('after serve', $this->log());
    }

    public function testTheServerCanEndTheWorker(): void
    {
        $this->worker->get('/hello');
        $this->worker->send(Frame::encode(0x09, '{"stop":true}'));
        self::assertNull($this->worker->nextFrame());
        self::assertSame(0, $this->worker->exitCode());
    }

    public function testAStopDuringAStreamWaitsForItsEnd(): void
    {
        $this->worker->request(WorkerProcess::context('GET', '/endless'));
        while (!($this->worker->frame()->stream & Frame::PING)) {
        }
        $this->worker->send(Frame::encode(0x09, '{"stop":true}'));
        self::assertTrue($this->worker->isSilent());
        $this->worker->send(Frame::encode(0x01, '', [], Frame::STOP));
        self::assertSame([''], $this->worker->answer()->parts);
        self::assertSame(0, $this->worker->exitCode());
    }

    public function testMethodsAreCalled(): void
    {
        self::assertSame('6', $this->method('add', '[1,2,3]')->body);
        self::assertSame('null', $this->method('nothing', '')->body);
        self::assertSame("\x00\xff", $this->method('reverse', "\xff\x00")->body);
        self::assertStringStartsWith('DomainException: no good', (string) $this->method('fail', '')->error);
        self::assertStringContainsString('there are: add, fail, measure, nothing, reverse', (string) $this->method('none', '')->error);
        self::assertStringContainsString('argument of method add is not JSON', (string) $this->method('add', '[')->error);
    }

    public function testTasksAreRun(): void
    {
        $this->worker->request(['task', 'id-1', 'mail', 'default', 2, ['x' => ['y']]], 'payload');
        self::assertSame('["id-1","mail","default",2,{"x":["y"]},"payload"]', $this->worker->answer()->body);
        $this->worker->request(['task', 'id-2', 'other', 'default', 1, []], '');
        self::assertStringContainsString('no tasks named other', (string) $this->worker->answer()->error);
    }

    public function testAKindOfRequestThatIsNotKnownIsRefused(): void
    {
        $this->worker->request(['dance', 1]);
        self::assertStringContainsString('does not know', (string) $this->worker->answer()->error);
        self::assertSame(200, $this->worker->get('/hello')->status);
    }

    protected function log(): string
    {
        return $this->worker->stdout() . $this->worker->stderr();
    }

    private function method(string $name, string $argument): Answer
    {
        $this->worker->request(['method', $name], $argument);

        return $this->worker->answer();
    }
}
