<?php

declare(strict_types=1);

namespace Folk\Tests\Unit;

use PHPUnit\Framework\TestCase;

final class WireTest extends TestCase
{
    /** @return array<string, array{string, list<string>}> */
    public static function disks(): array
    {
        // No file can grow beyond the limit, which is to a program what a full disk is.
        return [
            'room enough' => ['ulimit -c 0', []],
            'full after a while' => ["trap '' XFSZ; ulimit -f 4096", []],
            'full' => ["trap '' XFSZ; ulimit -f 0", []],
            'missing' => ['ulimit -c 0', ['-d', 'sys_temp_dir=/nowhere']],
        ];
    }

    /**
     * @dataProvider disks
     *
     * @param list<string> $options
     */
    public function testALargeBodyComesWholeWhateverTheDiskIsLike(string $before, array $options): void
    {
        $command = ['sh', '-c', "$before; exec \"$@\"", 'sh', \PHP_BINARY, ...$options, __DIR__ . '/../workers/full-disk.php'];
        $process = \proc_open($command, [['file', '/dev/null', 'r'], ['pipe', 'w'], ['pipe', 'w']], $pipes);
        $text = \stream_get_contents($pipes[1]) . \stream_get_contents($pipes[2]);
        self::assertSame([0, 'context whole'], [\proc_close($process), $text]);
    }
}
