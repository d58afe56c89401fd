import { Option } from 'commander';
import * as z from 'zod';
import { quote } from '../core/addresses/request.ts';
import { mostSimilar } from '../core/similar.ts';
import { UsageError } from '../daemon/errors.ts';

/** One flag of the command line. Each is also an environment variable, a line of the help, and a row of docs/flags.md. */
export type Flag<T> = {
  /** As commander writes it: `-o, --output <format>`. */
  readonly syntax: string;
  /** Heading of the help text. */
  readonly group: string;
  readonly help: string;
  /** Reads what was typed; `undefined` where nothing was, and there is no default. */
  readonly schema: z.ZodType<T>;
  /** Completes `expected …` when a value is refused; an issue of code `custom` has its own words. */
  readonly expected: string;
  /** As it would be typed. */
  readonly byDefault?: string;
  /** What the flag says without a value. */
  readonly preset?: string;
  /** It can be given several times; spaces separate the values in the variable. */
  readonly isRepeatable?: true;
  /** It changes one run of a command, and so has no environment variable. */
  readonly isOneTime?: true;
  /** Accepted, so that a command takes the flags of another; its help does not show it. */
  readonly isHidden?: true;
};

/** Flags, by the names that their decoded values have in the program. */
export type Flags<T> = { readonly [K in keyof T]: Flag<T[K]> };

/** Flags of whatever types. */
export type AnyFlags = Readonly<Record<string, Flag<unknown>>>;

/** The flags as commander wants them. */
export function toOptions(flags: AnyFlags): readonly Option[] {
  return Object.values(flags).map(toOption);
}

function toOption({
  syntax,
  group,
  help,
  byDefault,
  preset,
  isRepeatable,
  isOneTime,
  isHidden,
}: Flag<unknown>): Option {
  const option = new Option(syntax, help).helpGroup(`${group}:`).hideHelp(isHidden === true);
  if (isOneTime === undefined) option.env(variableOf(option));
  if (byDefault !== undefined) option.default(byDefault);
  if (preset !== undefined) option.preset(preset);
  if (isRepeatable === true)
    option.argParser((text, before: string | undefined) => (before === undefined ? text : `${before} ${text}`));
  return option;
}

/** The help of a flag, with its default and variable. */
export function describeOption({ description, defaultValue, presetArg, envVar }: Option): string {
  const notes = [
    ...(typeof defaultValue === 'string' ? [`default: ${defaultValue}`] : []),
    ...(typeof presetArg === 'string' ? [`without a value: ${presetArg}`] : []),
    ...(envVar === undefined ? [] : [`env: ${envVar}`]),
  ];
  return notes.length > 0 ? `${description} (${notes.join(', ')})` : description;
}

/** `--idle-timeout` → `FURIWAKE_IDLE_TIMEOUT`. */
function variableOf(option: Option): string {
  return `FURIWAKE_${(option.long ?? '').slice(2).replaceAll('-', '_').toUpperCase()}`;
}

/**
 * Decodes what was typed, by commander's names of the flags; a flag that is missing has its default. `sourceOf`: where a
 * value comes from (`env`, `cli`, `default`). Throws {@link UsageError} for the first value that is not valid.
 */
export function decodeFlags<T>(
  flags: Flags<T>,
  typed: Readonly<Record<string, unknown>>,
  sourceOf: (attribute: string) => string | undefined = () => undefined,
): T {
  const decoded = Object.entries<Flag<unknown>>(flags).map(([name, flag]) => {
    const option = toOption(flag);
    const attribute = option.attributeName();
    const value = typed[attribute] ?? flag.byDefault;
    const result = flag.schema.safeParse(value);
    if (result.success) return [name, result.data];
    const where = sourceOf(attribute) === 'env' ? option.envVar : option.long;
    const [issue] = result.error.issues;
    const advice = value === '' ? `; leave the ${where === option.long ? 'flag' : 'variable'} out for the default` : '';
    // Own words quote the part that is not valid.
    if (issue?.code === 'custom') throw new UsageError(`invalid ${where}: ${issue.message}${advice}`);
    const text = quote(typeof value === 'string' ? value : JSON.stringify(value));
    throw new UsageError(`invalid value ${text} for ${where}: expected ${flag.expected}${advice}`);
  });
  return Object.fromEntries(decoded) as T;
}

const prefix = 'FURIWAKE_';
/** Of the lab (lab/README.md), in which developers run furiwake. */
const labPrefix = 'FURIWAKE_LAB_';

/** Throws {@link UsageError} for a variable `FURIWAKE_…` that is not one of a flag, so that a typing error is not a default. */
export function assertKnownVariables(
  env: Readonly<Record<string, string | undefined>>,
  all: readonly AnyFlags[],
): void {
  const known = new Set(all.flatMap(toOptions).flatMap(({ envVar }) => envVar ?? []));
  for (const name of Object.keys(env)) {
    if (!name.startsWith(prefix) || name.startsWith(labPrefix) || known.has(name)) continue;
    const rest = (variable: string): string => variable.slice(prefix.length);
    const similar = mostSimilar(rest(name), Array.from(known, rest));
    throw new UsageError(
      `unknown environment variable ${name}${similar === undefined ? '. See docs/flags.md for all of them' : `. Did you mean ${prefix}${similar}?`}`,
    );
  }
}
