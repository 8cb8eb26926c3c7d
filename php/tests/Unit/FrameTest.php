<?php

declare(strict_types=1);

namespace Folk\Tests\Unit;

use Folk\Process\Frame;
use Folk\Process\ProtocolError;
use PHPUnit\Framework\TestCase;

final class FrameTest extends TestCase
{
    public function testAFrameIsWrittenAsTheSpecificationSays(): void
    {
        // CRC-32 of 13 09 07 00 00 00, least significant byte first.
        $crc = \strrev(\hash('crc32b', "\x13\x09\x07\0\0\0", true));
        self::assertSame("\x13\x09\x07\0\0\0" . $crc . "\0\0" . '{"a":1}', Frame::encode(0x09, '{"a":1}'));

        $crc = \strrev(\hash('crc32b', "\x15\x08\x03\0\0\0", true));
        self::assertSame(
            "\x15\x08\x03\0\0\0" . $crc . "\x05\0" . "\x02\x01\0\0" . "\xff\xff\xff\xff" . 'abc',
            Frame::encode(Frame::JSON, 'abc', [258, 0xffffffff], Frame::STREAM | Frame::PING),
        );
    }

    public function testTheHeadOfAnAnswerIsTheFrameWithoutItsBody(): void
    {
        foreach ([['', '', 0, 0], ['context', "body\0", Frame::ERROR, Frame::STREAM | Frame::PING]] as [$context, $body, $flag, $stream]) {
            self::assertSame(
                Frame::encode(Frame::RAW | $flag, $context . $body, [\strlen($context)], $stream),
                Frame::answer($context, \strlen($body), Frame::RAW | $flag, $stream) . $body,
            );
        }
    }

    public function testAFrameIsReadBack(): void
    {
        $frame = Frame::decode(Frame::encode(0x41, "\0payload", [1, 2, 3], Frame::STOP));
        self::assertSame([0x41, Frame::STOP, [1, 2, 3], "\0payload"], [$frame->flags, $frame->stream, $frame->options, $frame->payload]);
        self::assertSame([], Frame::decode(Frame::encode(1, ''))->options);
    }

    public function testAFrameOfAnotherLengthThanItSaysIsRefused(): void
    {
        $frame = Frame::encode(Frame::RAW, 'payload', [3]);
        foreach ([\substr($frame, 0, -1), $frame . 'x', \substr($frame, 0, 5), ''] as $bytes) {
            $this->assertRefused($bytes);
        }
    }

    public function testWhatIsNoFrameOfThisVersionIsRefused(): void
    {
        foreach (['HTTP/1.1 400', "\x23" . \str_repeat("\0", 11), "\x12" . \str_repeat("\0", 11), "\x1e" . \str_repeat("\0", 60)] as $bytes) {
            $this->assertRefused($bytes);
        }
    }

    private function assertRefused(string $bytes): void
    {
        try {
            Frame::decode($bytes);
        } catch (ProtocolError $error) {
            self::assertNotSame('', $error->getMessage());

            return;
        }
        self::fail('taken for a frame: ' . \bin2hex($bytes));
    }
}
