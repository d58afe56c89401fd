import type { Clock } from '../../../ports/clock.ts';
import {
  type RuntimeConnection,
  promptText,
  type RuntimeApi,
  RuntimeError,
  type Sockets,
  splitAnswers,
} from './client.ts';

/**
 * {@link RuntimeApi.ask} for the questions of each second, over a connection that stays open: a new one costs more than the answers. It
 * belongs to one worker, also when a reload has replaced that, or its socket's file is gone; so it is a new one each ten seconds, and
 * after `close`.
 */
export type RuntimeSession = Pick<RuntimeApi, 'ask'> & { close(): void };

const sessionMs = 10_000;

/** Its commands must fit in one line. */
export function makeRuntimeSession(deps: {
  readonly sockets: Sockets;
  readonly path: string;
  readonly clock: Clock;
}): RuntimeSession {
  const { sockets, path, clock } = deps;
  let open: { readonly connection: RuntimeConnection; readonly untilMs: number } | undefined;
  const close = (): void => {
    open?.connection.close();
    open = undefined;
  };
  const ask: RuntimeSession['ask'] = async (commands, signal) => {
    if (open !== undefined && clock.monotonic() >= open.untilMs) close();
    const isNew = open === undefined;
    open ??= { connection: sockets.connect(path), untilMs: clock.monotonic() + sessionMs };
    const line = `${commands.join(';')}\n`;
    try {
      const text = isNew
        ? await open.connection.exchange(`prompt\n${line}`, commands.length + 1, signal)
        : `${promptText}${await open.connection.exchange(line, commands.length, signal)}`;
      const answers = splitAnswers(text);
      if (answers?.length === commands.length) return answers;
      throw new RuntimeError('broken', `${path}: ${answers?.length} answers to ${commands.length} commands`);
    } catch (error) {
      close();
      // It was closed since the last question, for example by a process that has ended.
      if (!isNew && error instanceof RuntimeError && error.how === 'broken') return await ask(commands, signal);
      throw error;
    }
  };
  return { ask, close };
}
