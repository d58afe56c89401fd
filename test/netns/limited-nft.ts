import { type Exec, ExecError } from '../../src/ports/exec.ts';

/** Programs on a host whose nft gets another text than furiwake's, so that it may refuse it, or accepts no change at all. */
export function faultyNft(
  exec: Exec,
  { change, isBroken }: { readonly change: (text: string) => string; readonly isBroken: () => boolean },
): Exec {
  const check = (): void => {
    if (isBroken()) throw new ExecError('nft', 1, 'Error: Operation not permitted');
  };
  return {
    run: async (file, args, options) => {
      if (file !== 'nft' || options.stdin === undefined) return await exec.run(file, args, options);
      check();
      return await exec.run(file, args, { ...options, stdin: change(options.stdin) });
    },
    spawn: (file, args, signal) => {
      const program = exec.spawn(file, args, signal);
      return {
        ...program,
        write: async (text) => {
          check();
          await program.write(change(text));
        },
        [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
      };
    },
  };
}

/** Programs on a host whose kernel accepts at most `mostRanges` ranges, because the set has a size. */
export function limited(exec: Exec, mostRanges: number, isBroken: () => boolean): Exec {
  const change = (text: string): string => text.replace(/set sources4 \{.*flags interval;/, `$& size ${mostRanges};`);
  return faultyNft(exec, { change, isBroken });
}
