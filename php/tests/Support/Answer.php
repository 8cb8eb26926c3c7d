<?php

declare(strict_types=1);

namespace Folk\Tests\Support;

use Folk\Process\Frame;

/** A whole answer of a worker, put together from its frames. */
final class Answer
{
    public ?string $error = null;
    public int $status = 200;
    /** @var array<string, list<string>> */
    public array $headers = [];
    public string $body = '';
    /** @var list<string> the bodies of its frames, informational ones not counted */
    public array $parts = [];
    /** @var list<array{int, array<string, list<string>>}> */
    public array $informational = [];
    public int $pings = 0;
    private bool $begun = false;

    public function add(Frame $frame): void
    {
        if (\count($frame->options) !== 1) {
            throw new \UnexpectedValueException('an answer frame has exactly one option');
        }
        $context = \substr($frame->payload, 0, $frame->options[0]);
        $body = \substr($frame->payload, $frame->options[0]);
        if ($frame->flags & Frame::ERROR) {
            $this->error = $body;

            return;
        }
        $head = $context === '' ? null : \unserialize($context, ['allowed_classes' => false]);
        if (!$this->begun && $head !== null) {
            if ($head[0] < 200) {
                $this->informational[] = $head;

                return;
            }
            [$this->status, $this->headers] = $head;
        }
        $this->begun = true;
        $this->body .= $body;
        $this->parts[] = $body;
    }
}
