<?php

declare(strict_types=1);

namespace Folk\Tests\Unit;

use Folk\Process\Disconnected;
use Folk\Process\Frame;
use Folk\Process\Loop;
use Folk\Process\ProtocolError;
use Folk\Process\Relay;
use Folk\Request;
use Folk\Response;
use Folk\Tests\Support\WorkerProcess;
use PHPUnit\Framework\TestCase;

/** What needs a relay that misbehaves. */
final class LoopTest extends TestCase
{
    public function testNothingFollowsAFrameThatWasSentInPart(): void
    {
        $relay = self::relay([self::http()], torn: true);
        (new Loop($relay, static fn() => throw new \RuntimeException('after half a frame'), [], null, 0))->run();
        self::assertSame([], $relay->sent);
    }

    public function testARequestBeforeTheLastWasAnsweredEndsTheLoop(): void
    {
        $relay = self::relay([self::http(), self::http()]);
        $loop = new Loop($relay, static fn() => Response::stream(\array_fill(0, 9, 'x')), [], null, 0);
        $this->expectException(ProtocolError::class);
        $loop->run();
    }

    public function testAServerThatGoesAwayEndsTheLoopAndTheGenerator(): void
    {
        $closed = false;
        $relay = self::relay([self::http()]);
        $handler = static function () use (&$closed): \Generator {
            try {
                while (true) {
                    yield 'x';
                }
            } finally {
                $closed = true;
            }
        };
        (new Loop($relay, $handler, [], null, 0))->run();
        self::assertCount(8, $relay->sent, 'until the server was to say whether anybody reads');
        self::assertTrue($closed);
    }

    public function testAGeneratorIsClosedBeforeTheEndIsSent(): void
    {
        $stop = Frame::encode(Frame::CONTROL, '', [], Frame::STOP);
        $endless = static function (array &$events): \Generator {
            try {
                while (true) {
                    yield 'x';
                }
            } finally {
                $events[] = 'closed';
            }
        };
        foreach ([static fn($body) => $body, static fn($body) => Response::stream($body)] as $wrap) {
            $relay = self::relay([self::http(), $stop]);
            (new Loop($relay, static fn() => $wrap($endless($relay->sent)), [], null, 0))->run();
            self::assertCount(10, $relay->sent);
            self::assertSame('closed', $relay->sent[8]);
            self::assertSame(0, Frame::decode($relay->sent[9])->stream);
        }
    }

    public function testHintsOfAnotherRequestThanTheRunningOneAreNotSent(): void
    {
        $relay = self::relay([self::http(), self::http()]);
        $kept = null;
        $handler = static function (Request $request) use (&$kept): string {
            $kept?->earlyHints(['link' => '</old.css>']);
            $kept ??= $request;

            return '';
        };
        (new Loop($relay, $handler, [], null, 0))->run();
        self::assertCount(2, $relay->sent);
    }

    public function testTheContextOfAPlainPageIsWhatItSays(): void
    {
        $relay = self::relay([self::http(), self::http(), self::http()]);
        $results = ['page', ['a' => 1], null];
        $handler = static function () use (&$results): mixed {
            return \array_shift($results);
        };
        (new Loop($relay, $handler, [], null, 0))->run();
        $heads = \array_map(static function (string $bytes): array {
            $frame = Frame::decode($bytes);

            return \unserialize(\substr($frame->payload, 0, $frame->options[0]), ['allowed_classes' => false]);
        }, $relay->sent);
        self::assertSame([
            [200, ['content-type' => ['text/html; charset=UTF-8']]],
            [200, ['content-type' => ['application/json']]],
            [204, []],
        ], $heads);
    }

    private static function http(): string
    {
        return WorkerProcess::encode(WorkerProcess::context());
    }

    /** @param list<string> $frames */
    private static function relay(array $frames, bool $torn = false): Relay
    {
        return new class ($frames, $torn) implements Relay {
            /** @var list<string> */
            public array $sent = [];

            /** @param list<string> $frames */
            public function __construct(private array $frames, private bool $torn)
            {
            }

            public function receive(?string &$body = null): string
            {
                return \array_shift($this->frames) ?? throw new Disconnected('the end');
            }

            public function send(string $bytes, string $more = ''): void
            {
                $this->sent[] = $bytes . $more;
            }

            public function isTorn(): bool
            {
                return $this->torn;
            }
        };
    }
}
