import { PassThrough } from 'node:stream';
import { createInterface } from 'node:readline';
import type { Clock } from '../../src/ports/clock.ts';
import { type Exec, ExecError } from '../../src/ports/exec.ts';
import { type FakeLinks, makeFakeLinks } from './fake-ip-links.ts';
import { type FakeRoutes, makeFakeRoutes } from './fake-ip-routes.ts';

/** `ip`, with the addresses, rules and routes of a kernel in memory that understands the commands of furiwake. */
export type FakeIp = {
  readonly exec: Exec;
  readonly links: FakeLinks;
  readonly routes: FakeRoutes;
  /** What each process got in one portion, in order; `list` for a list of all addresses. */
  readonly calls: string[];
};

/** `refuse`: what the kernel says to a command that it refuses although it is right. `onCall` gets each portion. */
export function makeFakeIp({
  clock,
  refuse = () => undefined,
  onCall = () => undefined,
}: {
  readonly clock: Clock;
  readonly refuse?: (command: string, family: 4 | 6) => string | undefined;
  readonly onCall?: (call: string) => void;
}): FakeIp {
  const links = makeFakeLinks(clock);
  const routes = makeFakeRoutes();
  const calls: string[] = [];
  const note = (call: string): void => {
    calls.push(call);
    onCall(call);
  };

  /** The output of one command; throws the kernel's words. */
  const perform = (family: 4 | 6, command: string): string => {
    const words = refuse(command, family);
    if (words !== undefined) throw new Error(words);
    return /^(?:rule|route) /.test(command) ? routes.perform(family, command) : links.perform(command);
  };

  /** Commands of one process: the output, and the errors if one was refused. Ends at the first one, unless it is forced. */
  const batch = (args: readonly string[], text: string, from: number): { out: string; errors: string } => {
    let [out, errors] = ['', ''];
    for (const [index, command] of text.trimEnd().split('\n').entries())
      try {
        out += perform(args.includes('-6') ? 6 : 4, command);
      } catch (error) {
        errors += `${(error as Error).message}\nCommand failed -:${from + index + 1}\n`;
        if (!args.includes('-force')) break;
      }
    return { out, errors };
  };

  const exec: Exec = {
    run: async (file, args, { stdin = '', signal }) => {
      signal.throwIfAborted();
      if (file !== 'ip') throw new ExecError(file, undefined, 'not found', { isMissing: true });
      const command = args.filter((each) => !each.startsWith('-')).join(' ');
      if (command === 'address show') {
        note('list');
        return { stdout: links.json(), stderr: '' };
      }
      if (command === 'route show table main') return { stdout: '[]\n', stderr: '' };
      note(stdin.trimEnd());
      const { out, errors } = batch(args, stdin, 0);
      if (errors !== '') throw new ExecError('ip', 1, errors);
      return { stdout: out, stderr: '' };
    },
    spawn: (file, args, signal) => {
      const output = new PassThrough();
      const exited = Promise.withResolvers<number>();
      let [errors, count] = ['', 0];
      const end = (code: number): void => {
        output.end();
        exited.resolve(code);
      };
      const forget = file === 'perl' ? links.watch((line) => void output.write(`${line}\n`)) : () => undefined;
      signal.addEventListener(
        'abort',
        () => {
          forget();
          end(0);
        },
        { once: true },
      );
      return {
        pid: 1,
        write: async (text) => {
          note(text.replace(/^link show dev lo\n/m, '').trimEnd());
          const answer = batch(args, text, count);
          count += text.trimEnd().split('\n').length;
          errors += answer.errors;
          output.write(answer.out);
          if (answer.errors !== '') end(1);
        },
        lines: createInterface({ input: output }),
        takeErrors: async () => {
          const taken = errors;
          errors = '';
          return taken;
        },
        exited: exited.promise,
        [Symbol.asyncDispose]: async () => {
          forget();
          end(0);
        },
      };
    },
  };
  return { exec, links, routes, calls };
}
