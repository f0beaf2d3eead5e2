// C functions that ask Python:  Entry<3, int(void *, int)>::call(p, 1)  is  methods[3](p, 1),  whose error it leaves set.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

struct PyObject;                       // Python's own header need not be installed
extern "C" {
PyObject *methods[256];
PyObject *PyObject_CallFunction(PyObject *, const char *, ...);
double PyFloat_AsDouble(PyObject *);
void Py_DecRef(PyObject *);
int PyGILState_Ensure();
void PyGILState_Release(int);
}

// How Python writes the type of an argument; an address is a number.
template <class T> constexpr char letter()
{
    if (std::is_same_v<T, PyObject *>) return 'O';
    return sizeof(T) == 8 ? 'n' : std::is_signed_v<T> ? 'i' : 'I';
}

// What a method answered; where it raised, what Cython takes for that.
template <class R> R answer(PyObject *found)
{
    if constexpr (std::is_same_v<R, PyObject *>) return found;
    else {
        if (!found) return std::is_same_v<R, int> ? -1 : 0;
        R number = PyFloat_AsDouble(found);                     // addresses have 48 bits, which a double holds
        Py_DecRef(found);
        return number;
    }
}

template <int number, class Signature> struct Entry;
template <int number, class R, class... A> struct Entry<number, R(A...)> {
    static R call(A... given)
    {
        constexpr char format[] = {letter<A>()..., 0};
        int state = PyGILState_Ensure();
        R found = answer<R>(PyObject_CallFunction(methods[number], format, given...));
        PyGILState_Release(state);
        return found;
    }
};
