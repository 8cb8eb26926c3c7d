<?php

declare(strict_types=1);

namespace Folk\Tests\Unit;

use Folk\Process\Failure;
use PHPUnit\Framework\TestCase;

final class FailureTest extends TestCase
{
    public function testItSaysWhatHappenedWhereAndWhy(): void
    {
        $line = __LINE__ + 1;
        $text = Failure::describe(new \RuntimeException('outer', 0, new \LogicException('inner')));
        $lines = \explode("\n", $text);
        self::assertSame('RuntimeException: outer in ' . __FILE__ . ":$line", $lines[0]);
        self::assertStringStartsWith('#0 ', $lines[1]);
        self::assertSame('caused by LogicException: inner in ' . __FILE__ . ":$line", \end($lines));
    }

    public function testArgumentsStayOut(): void
    {
        try {
            self::login('s3cret');
        } catch (\RuntimeException $error) {
            self::assertStringContainsString('login()', Failure::describe($error));
            self::assertStringNotContainsString('s3cret', Failure::describe($error));
        }
    }

    public function testLengthIsBounded(): void
    {
        $error = new \RuntimeException(\str_repeat('x', 100000));
        for ($count = 0; $count < 50; ++$count) {
            $error = new \RuntimeException(\str_repeat('y', 100000), 0, $error);
        }
        self::assertLessThan(64 * 1024, \strlen(Failure::describe($error)));
    }

    public function testAnonymousClassesHaveANameThatCanBePrinted(): void
    {
        $text = Failure::describe(new class ('x') extends \RuntimeException {
        });
        self::assertStringStartsWith('RuntimeException@anonymous: x in ', $text);
    }

    private static function login(string $password): never
    {
        throw new \RuntimeException('refused');
    }

    public function testTheWholeIsNotLongerThanTheServerTakes(): void
    {
        $class = 'Long' . \str_repeat('x', 5000);
        eval("class $class { static function dive(int \$depth) { return \$depth ? self::dive(\$depth - 1) : throw new RuntimeException('deep'); } }");
        try {
            $class::dive(30);
        } catch (\RuntimeException $error) {
            self::assertLessThan(64 * 1024, \strlen(Failure::describe($error)));
        }
    }
}
