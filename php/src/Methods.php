<?php

declare(strict_types=1);

namespace Folk;

/**
 * What plugins of the server may call in the application, by name.
 *
 * `new Methods(['price' => fn(array $order) => …])`: the argument comes as JSON, objects as arrays,
 * and the result goes back as JSON.
 */
final class Methods
{
    /** @var array<string, \Closure> */
    private array $json = [];
    /** @var array<string, \Closure> */
    private array $raw = [];

    /** @param array<string, callable(mixed): mixed> $methods */
    public function __construct(array $methods = [])
    {
        foreach ($methods as $name => $method) {
            $this->add((string) $name, $method);
        }
    }

    /** @param callable(mixed): mixed $method */
    public function add(string $name, callable $method): self
    {
        $this->json[$name] = \Closure::fromCallable($method);
        unset($this->raw[$name]);

        return $this;
    }

    /**
     * A method that takes the bytes of its argument as they are and returns bytes.
     *
     * @param callable(string): string $method
     */
    public function addRaw(string $name, callable $method): self
    {
        $this->raw[$name] = \Closure::fromCallable($method);
        unset($this->json[$name]);

        return $this;
    }

    /** Calls one: the bytes of its argument in, the bytes of its result out. */
    public function call(string $name, string $argument): string
    {
        if (isset($this->raw[$name])) {
            return (string) $this->raw[$name]($argument);
        }
        if (!isset($this->json[$name])) {
            throw new \BadMethodCallException("no method $name here" . $this->known());
        }
        try {
            $value = $argument === '' ? null : \json_decode($argument, true, 512, \JSON_THROW_ON_ERROR);
        } catch (\JsonException $error) {
            throw new \InvalidArgumentException("the argument of method $name is not JSON: {$error->getMessage()}", 0, $error);
        }

        return \json_encode($this->json[$name]($value), Response::JSON_FLAGS);
    }

    private function known(): string
    {
        $names = \array_merge(\array_keys($this->json), \array_keys($this->raw));
        if ($names === []) {
            return ': pass methods to Folk\serve()';
        }
        \sort($names);

        return '; there are: ' . \implode(', ', $names);
    }
}
