<?php

declare(strict_types=1);

namespace Folk\Process;

use Folk\Methods;
use Folk\Request;
use Folk\Response;
use Folk\Task;
use Folk\Worker;

/** @internal takes one request after another from the server and has it answered */
final class Loop
{
    /** How the context of an HTTP request begins. */
    private const HTTP = 'a:14:{i:0;s:4:"http";';
    /** For how many body lengths the head of a plain answer is kept. */
    private const KEPT_HEADS = 256;

    private static ?self $active = null;

    private Emitter $emitter;
    private ?\Closure $handler;
    private Methods $methods;
    /** @var \Closure|array<string, \Closure>|null */
    private \Closure|array|null $tasks;
    private ?Request $request = null;
    private bool $stopping = false;
    private int $outputLevel = 0;
    private string $timeLimit = '0';
    private int $answers = 0;

    /**
     * @param Methods|array<string, callable> $methods
     * @param callable|array<string, callable>|null $tasks
     */
    public function __construct(
        private Relay $relay,
        ?callable $handler,
        Methods|array $methods,
        callable|array|null $tasks,
        private int $gcEvery,
    ) {
        $this->emitter = new Emitter($relay, $this);
        $this->handler = $handler === null ? null : \Closure::fromCallable($handler);
        $this->methods = \is_array($methods) ? new Methods($methods) : $methods;
        $this->tasks = \is_callable($tasks) || $tasks === null
            ? ($tasks === null ? null : \Closure::fromCallable($tasks))
            : \array_map(\Closure::fromCallable(...), $tasks);
    }

    /**
     * A loop on the relay that the server named in the environment. Ends the process where there is
     * no server.
     *
     * @param Methods|array<string, callable> $methods
     * @param callable|array<string, callable>|null $tasks
     */
    public static function fromEnvironment(
        ?callable $handler,
        Methods|array $methods,
        callable|array|null $tasks,
        int $gcEvery,
    ): self {
        $relay = (string) \getenv('RR_RELAY');
        try {
            return new self(self::relay($relay), $handler, $methods, $tasks, $gcEvery);
        } catch (Disconnected $error) {
            \file_put_contents('php://stderr', $error->getMessage() . "\n");
            exit(1);
        }
    }

    /** Answers requests until the server asks to end, or is gone. */
    public function run(): void
    {
        self::$active = $this;
        // Loaded now, so that neither the first request waits for them nor the last words.
        foreach ([Request::class, Response::class, Frame::class, Failure::class, OutputBuffer::class, Worker::class] as $class) {
            \class_exists($class);
        }
        Shutdown::guard($this->emitter);
        $this->outputLevel = \ob_get_level();
        $this->timeLimit = (string) \ini_get('max_execution_time');
        try {
            $this->serve();
        } catch (Disconnected) {
            // Nobody is left to tell: the server ended, or gave this worker up.
        } finally {
            self::$active = null;
        }
    }

    /** Lets the running loop end after the current request. */
    public static function stop(): void
    {
        if (self::$active !== null) {
            self::$active->stopping = true;
        }
    }

    /**
     * Sends an informational response ahead of the answer to $request, if that is being made.
     *
     * @param array<string, list<string>> $headers
     */
    public static function inform(Request $request, int $status, array $headers): void
    {
        if (self::$active?->request === $request) {
            self::$active->emitter->inform($status, $headers);
        }
    }

    private static function relay(string $relay): Relay
    {
        if (\str_starts_with($relay, 'unix://')) {
            $path = \substr($relay, 7);

            return \extension_loaded('sockets') ? SocketRelay::connect($path) : StreamRelay::connect($path);
        }
        if ($relay === 'pipes') {
            return Pipes::open();
        }
        throw new Disconnected($relay === ''
            ? 'this script is a worker and is started by the server; type: folk serve -c folk.toml'
            : "RR_RELAY is $relay; this worker knows unix://PATH and pipes");
    }

    private function serve(): void
    {
        $relay = $this->relay;
        $emitter = $this->emitter;
        $handler = $this->handler;
        $heads = [];
        $largestFrame = Emitter::$largestFrame;
        $body = null;

        while (!$this->stopping) {
            $frame = $relay->receive($body);
            if ($frame[1] !== "\x04" || $frame[0] !== "\x14") {
                $this->control($frame);
                continue;
            }
            $emitter->phase = Emitter::TAKEN;
            $emitter->tag = $frame[Frame::TAG];
            $contextLength = \unpack('V', $frame, 12)[1];
            try {
                if ($handler !== null && \substr_compare($frame, self::HTTP, Frame::REQUEST_HEAD, 21) === 0) {
                    $this->request = $request = new Request($frame, Frame::REQUEST_HEAD, $contextLength, $body);
                    $frame = ''; // only the request holds it from here on
                    $result = $handler($request);
                    if (\is_string($result) && \strlen($result) <= $largestFrame) {
                        $length = \strlen($result);
                        $head = $heads[$length] ?? Frame::answer(Emitter::HTML, $length);
                        if (!isset($heads[$length]) && \count($heads) < self::KEPT_HEADS) {
                            $heads[$length] = $head;
                        }
                        $emitter->sendWhole($head, $result);
                    } else {
                        $emitter->answer($result);
                    }
                } else {
                    $this->other($frame, $contextLength, $body);
                }
            } catch (Disconnected|ProtocolError $gone) {
                throw $gone;
            } catch (\Throwable $error) {
                $emitter->fail(Failure::describe($error));
            }
            // What the request held is let go before the next is waited for.
            unset($frame, $request, $result, $error);
            $this->request = $body = null;
            $this->reset();
        }
    }

    /** Answers whatever is not HTTP. */
    private function other(string $frame, int $contextLength, ?string $body): void
    {
        $context = @\unserialize(\substr($frame, Frame::REQUEST_HEAD, $contextLength), ['allowed_classes' => false]);
        $body ??= \substr($frame, Frame::REQUEST_HEAD + $contextLength);
        switch (\is_array($context) ? $context[0] ?? null : null) {
            case 'http':
                if ($this->handler === null) {
                    throw new \LogicException('this worker answers no HTTP requests: pass a handler to Folk\serve()');
                }
                $this->request = new Request($frame, Frame::REQUEST_HEAD, $contextLength, $body);
                $result = ($this->handler)($this->request);
                $this->emitter->answer($result);
                break;
            case 'method':
                $this->emitter->bytes($this->methods->call((string) $context[1], $body));
                break;
            case 'task':
                $this->emitter->bytes($this->task(new Task(
                    (string) $context[1],
                    (string) $context[2],
                    (string) $context[3],
                    (int) $context[4],
                    (array) $context[5],
                    $body,
                )));
                break;
            default:
                throw new \UnexpectedValueException('the server sent a request of a kind that this version of folk/sdk does not know');
        }
    }

    private function task(Task $task): string
    {
        $handler = $this->tasks instanceof \Closure ? $this->tasks : $this->tasks[$task->name] ?? null;
        if ($handler === null) {
            throw new \LogicException("this worker runs no tasks named {$task->name}: pass tasks to Folk\\serve()");
        }
        $result = $handler($task);

        return match (true) {
            $result === null => '',
            \is_string($result) => $result,
            default => \json_encode($result, Response::JSON_FLAGS),
        };
    }

    /** Takes what is no request: the handshake, the wish to end, or what comes too late to matter. */
    public function control(string $bytes): void
    {
        $frame = Frame::decode($bytes);
        if (!($frame->flags & Frame::CONTROL)) {
            throw new ProtocolError('the server sent a request that is not in the folk dialect');
        }
        if ($frame->payload === '') {
            return; // a STOP or PONG that crossed the end of a stream
        }
        $message = \json_decode($frame->payload, true);
        if (($message['stop'] ?? false) === true) {
            $this->stopping = true;
        } elseif (isset($message['pid'])) {
            $answer = ['pid' => \getmypid(), 'dialect' => 'folk/1', 'php' => \PHP_VERSION];
            $this->relay->send(Frame::encode(Frame::CONTROL | Frame::JSON, \json_encode($answer, \JSON_THROW_ON_ERROR)));
        }
    }

    /** Puts back what a handler may have left behind; runs while nobody waits. */
    private function reset(): void
    {
        while (\ob_get_level() > $this->outputLevel && OutputBuffer::isRemovable()) {
            \ob_end_flush(); // its content goes where all output goes, to the log
        }
        if (\ob_get_level() < $this->outputLevel) {
            Pipes::leadOutputAway();
        }
        if (\ini_get('max_execution_time') !== $this->timeLimit) {
            \set_time_limit((int) $this->timeLimit);
        }
        Worker::reset();
        if ($this->gcEvery > 0 && ++$this->answers % $this->gcEvery === 0) {
            \gc_collect_cycles();
        }
    }
}
