<?php

declare(strict_types=1);

namespace Folk\Tests\EndToEnd;

use Folk\Rpc;
use Folk\RpcException;
use PHPUnit\Framework\TestCase;

final class RpcTest extends TestCase
{
    private string $path;
    /** @var resource|null */
    private $server;
    /** @var array<int, resource> */
    private array $pipes = [];
    private Rpc $rpc;

    protected function setUp(): void
    {
        $this->path = \sys_get_temp_dir() . '/folk-rpc-' . \bin2hex(\random_bytes(6)) . '.sock';
        $this->startServer();
        $this->rpc = new Rpc("unix://{$this->path}", 5.0);
    }

    protected function tearDown(): void
    {
        $this->stopServer();
    }

    public function testValuesGoThereAndBack(): void
    {
        self::assertSame(['a' => [1, 2.0, null, 'ü/']], $this->rpc->call('echo', ['a' => [1, 2.0, null, 'ü/']]));
        self::assertNull($this->rpc->call('echo'));
        self::assertSame(1, $this->rpc->call('connections'), 'one connection for all calls');
    }

    public function testBytesGoThereAndBack(): void
    {
        $bytes = \random_bytes(3 << 20);
        self::assertTrue($this->rpc->callRaw('echo', $bytes) === $bytes);
        self::assertSame('', $this->rpc->callRaw('echo'));
    }

    public function testAnAnswerInPiecesIsPutTogether(): void
    {
        self::assertSame('in pieces', $this->rpc->call('split', 'in pieces'));
    }

    public function testAnErrorCarriesTheTextOfTheServer(): void
    {
        try {
            $this->rpc->call('fail');
            self::fail('no exception');
        } catch (RpcException $error) {
            self::assertSame('that is not allowed', $error->getMessage());
        }
        self::assertSame('next', $this->rpc->call('echo', 'next'));
        self::assertSame(1, $this->rpc->call('connections'), 'an error is no reason to reconnect');
    }

    public function testACallThatTakesTooLongIsGivenUpAndItsAnswerNeverMistaken(): void
    {
        $started = \microtime(true);
        $this->expectFailure('slow: no answer in time', fn() => $this->rpc->call('slow', null, 0.1));
        self::assertGreaterThan(0.09, \microtime(true) - $started);
        self::assertLessThan(3.0, \microtime(true) - $started);
        self::assertSame(2, $this->rpc->call('connections'));
    }

    public function testAConnectionThatTheServerClosedIsReplaced(): void
    {
        $this->rpc->call('echo');
        (new Rpc("unix://{$this->path}"))->call('close-others');
        self::assertSame('again', $this->rpc->call('echo', 'again'));
    }

    public function testAServerThatStartedAnewIsFoundAgain(): void
    {
        self::assertSame(1, $this->rpc->call('connections'));
        $this->stopServer();
        $this->expectFailure('cannot connect', fn() => $this->rpc->call('echo'));
        $this->startServer();
        self::assertSame('again', $this->rpc->call('echo', 'again'));
    }

    public function testACallThatMayHaveRunIsNotSentTwice(): void
    {
        $this->expectFailure('the call may have run', fn() => $this->rpc->call('drop'));
        self::assertSame(2, $this->rpc->call('connections'));
    }

    public function testAnswersThatMakeNoSenseAreRefused(): void
    {
        $this->expectFailure('another call', fn() => $this->rpc->call('wrong'));
        $this->expectFailure('no Goridge v1 frame', fn() => $this->rpc->call('garbage'));
        $this->expectFailure('not-json: not JSON', fn() => $this->rpc->call('not-json'));
        self::assertSame('fine', $this->rpc->call('echo', 'fine'));
    }

    public function testAChildProcessHasAConnectionOfItsOwn(): void
    {
        if (!\function_exists('pcntl_fork') || !\function_exists('posix_kill')) {
            self::markTestSkipped('needs ext-pcntl and ext-posix');
        }
        $this->rpc->call('echo');
        $child = \pcntl_fork();
        if ($child === 0) {
            try {
                $isOwn = $this->rpc->call('connections') === 2;
            } catch (\Throwable) {
                $isOwn = false;
            }
            // Ends at once: what PHPUnit would still do at its end is for the parent to do.
            \posix_kill(\getmypid(), $isOwn ? \SIGKILL : \SIGTERM);
        }
        \pcntl_waitpid($child, $status);
        self::assertSame(\SIGKILL, \pcntl_wtermsig($status));
        self::assertSame('still', $this->rpc->call('echo', 'still'));
    }

    public function testTheEnvironmentNamesTheSocket(): void
    {
        \putenv("RR_RPC=unix://{$this->path}");
        self::assertSame('here', Rpc::fromEnvironment()->call('echo', 'here'));
        \putenv('RR_RPC');
        $this->expectFailure('RR_RPC is not set', static fn() => Rpc::fromEnvironment());
    }

    private function expectFailure(string $message, \Closure $call): void
    {
        try {
            $call();
        } catch (RpcException $error) {
            self::assertStringContainsString($message, $error->getMessage());

            return;
        }
        self::fail('no exception');
    }

    private function startServer(): void
    {
        $this->server = \proc_open(
            [\PHP_BINARY, __DIR__ . '/../workers/rpc-server.php', $this->path],
            [['pipe', 'r'], ['pipe', 'w']],
            $this->pipes,
        );
        self::assertSame("ready\n", \fgets($this->pipes[1]));
    }

    private function stopServer(): void
    {
        if ($this->server !== null) {
            \fclose($this->pipes[0]); // its standard input: it ends with that
            \fclose($this->pipes[1]);
            \proc_terminate($this->server, 9);
            \proc_close($this->server);
            $this->server = null;
            @\unlink($this->path);
        }
    }
}
