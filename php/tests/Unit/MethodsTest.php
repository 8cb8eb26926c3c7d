<?php

declare(strict_types=1);

namespace Folk\Tests\Unit;

use Folk\Methods;
use PHPUnit\Framework\TestCase;

final class MethodsTest extends TestCase
{
    public function testArgumentsAndResultsAreJson(): void
    {
        $methods = new Methods(['same' => static fn(mixed $value): mixed => $value]);
        self::assertSame('{"a":[1.0,"ü/"]}', $methods->call('same', '{"a":[1.0,"ü/"]}'));
        self::assertSame('null', $methods->call('same', ''));
    }

    public function testRawMethodsGetBytes(): void
    {
        $methods = (new Methods())->addRaw('twice', static fn(string $bytes): string => $bytes . $bytes);
        self::assertSame("\xff\xff", $methods->call('twice', "\xff"));
    }

    public function testTheLastRegistrationOfANameCounts(): void
    {
        $methods = (new Methods(['a' => static fn() => 1]))->addRaw('a', static fn() => 'raw');
        self::assertSame('raw', $methods->call('a', ''));
        self::assertSame('2', $methods->add('a', static fn() => 2)->call('a', ''));
    }

    public function testAnUnknownNameIsAnsweredByThoseThatAreKnown(): void
    {
        $methods = (new Methods(['b' => static fn() => 1]))->addRaw('a', static fn() => '');
        $this->expectExceptionMessage('no method c here; there are: a, b');
        $methods->call('c', '');
    }
}
