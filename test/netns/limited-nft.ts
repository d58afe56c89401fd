import { type Exec, ExecError } from '../../src/ports/exec.ts';

/** Programs on a host whose kernel accepts at most `mostRanges` ranges, because the set has a size. */
export function limited(exec: Exec, mostRanges: number, isBroken: () => boolean): Exec {
  const check = (file: string): void => {
    if (file === 'nft' && isBroken()) throw new ExecError('nft', 1, 'Error: Operation not permitted');
  };
  return {
    run: async (file, args, options) => {
      if (args.includes('--file')) check(file);
      const stdin = options.stdin?.replace(/set allowed4 \{.*flags interval;/, `$& size ${mostRanges};`);
      return await exec.run(file, args, stdin === undefined ? options : { ...options, stdin });
    },
    spawn: (file, args, signal) => {
      const program = exec.spawn(file, args, signal);
      return {
        ...program,
        write: async (text) => {
          check('nft');
          await program.write(text);
        },
        [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
      };
    },
  };
}
