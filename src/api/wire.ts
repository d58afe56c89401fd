import { exact } from '../core/exact.ts';

/**
 * Reading JSON whose shape is not ours to trust: each function gives the value when it has the type asked for, else an
 * empty one, and never throws. Projections are built from these, so one odd object cannot stop the others.
 */
export type Json = unknown;

export function fieldsOf(value: Json): Readonly<Record<string, Json>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, Json>) : {};
}

export function listOf(value: Json): readonly Json[] {
  return Array.isArray(value) ? value : [];
}

export function textOf(value: Json): string {
  return typeof value === 'string' ? value : '';
}

/** The text, or `undefined` when it is absent, empty or no text. */
export function optionalTextOf(value: Json): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

export function integerOf(value: Json): number {
  return typeof value === 'number' && Number.isInteger(value) ? value : 0;
}

export function textsOf(value: Json): readonly string[] {
  return exact(listOf(value).filter((item) => typeof item === 'string'));
}
