import { fstatSync } from 'node:fs';
import pino from 'pino';
import { messageOf } from '../../async/error-words.ts';
import type { Log } from '../../ports/log.ts';
import { printable } from '../../cli/terminal-text.ts';
import { isExternal } from '../end.ts';

/**
 * - `text`: for people, with the time.
 * - `journal`: the same for journald, which adds the time and reads the level from a prefix (sd-daemon(3)).
 * - `json`: an object per line, for programs.
 */
export type LogFormat = 'text' | 'journal' | 'json';

export type LogDeps = {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly format: LogFormat;
  readonly isColoured: boolean;
  readonly write: (text: string) => void;
  /** See `Log.failing`. */
  readonly onFailing: Log['failing'];
};

/** Structured log on pino, without transports (they spawn a worker by file path, which a bundle does not have). */
export function makeLog({ level, format, isColoured, write, onFailing }: LogDeps): Log {
  const show: Readonly<Record<LogFormat, (line: string) => string>> = {
    json: (line) => line,
    text: (line) => terminalLine(line, isColoured),
    journal: journalLine,
  };
  return adapt(
    pino(
      {
        level,
        base: null,
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
        serializers: { err: describeError },
      },
      { write: (line: string) => write(show[format](line)) },
    ),
    onFailing,
  );
}

/**
 * The default format: text for people; `run` without a terminal or a journal, as in a container, writes JSON for the
 * collector.
 */
export function defaultFormat(command: string, stream: 'terminal' | 'journal' | 'other'): LogFormat {
  if (stream === 'journal') return 'journal';
  return stream === 'terminal' || command !== 'run' ? 'text' : 'json';
}

/** True when standard error is connected to journald: `JOURNAL_STREAM` names its device and inode (systemd.exec(5)). */
export function isJournal(stream: string | undefined, descriptor = 2): boolean {
  if (stream === undefined) return false;
  const { dev, ino } = fstatSync(descriptor);
  return stream === `${dev}:${ino}`;
}

function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  return isExternal(error)
    ? { type: error.name, code: error.code, message: messageOf(error) }
    : pino.stdSerializers.err(error);
}

function adapt(logger: pino.Logger, failing: Log['failing']): Log {
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    failing,
    child: (fields) => adapt(logger.child(fields), failing),
  };
}

const colours: Readonly<Record<string, string>> = {
  debug: '\u001b[2m',
  info: '',
  warn: '\u001b[33m',
  error: '\u001b[31m',
};
const plain = '\u001b[0m';

/** As syslog(3) numbers them. */
const priorities: Readonly<Record<string, number>> = { debug: 7, info: 6, warn: 4, error: 3 };

type LogLine = { readonly level: string; readonly time: string; readonly text: string };

/** `message  service=shop/web reason=PortConflict error="…"`, on one line. */
function read(line: string): LogLine {
  const { level, time, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const thrown = typeof err === 'string' ? { message: err } : (err as { message?: string; stack?: string } | undefined);
  const shown = Object.entries(fields).map(
    ([name, value]) =>
      `${name}=${typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)}`,
  );
  if (thrown !== undefined)
    shown.push(`error=${JSON.stringify(('stack' in thrown ? thrown.stack : undefined) ?? thrown.message)}`);
  const text = [String(msg), ...(shown.length > 0 ? [shown.join(' ')] : [])].join('  ');
  return { level: String(level), time: String(time), text: printable(text) };
}

/** `18:02:11.345 WARN  message  service=shop/web`, in UTC. */
function terminalLine(line: string, isColoured: boolean): string {
  const { level, time, text } = read(line);
  const colour = isColoured ? (colours[level] ?? '') : '';
  const shown = `${time.slice(11, 23)} ${level.toUpperCase().padEnd(5)} ${text}`;
  return `${colour}${shown}${colour === '' ? '' : plain}\n`;
}

/** `<4>message  service=shop/web`. */
function journalLine(line: string): string {
  const { level, text } = read(line);
  return `<${priorities[level] ?? 6}>${text}\n`;
}
