"""Celery's call becomes a message.

``messages``      an occurrence -> its message: filled in where that can be done, else rendered
``renderer``      Celery and kombu make the messages of an occurrence
``capturing``     what they would send is recorded instead
``calls``         a call to publish as a text, for the outbox
``connections``   to the broker, with a bound for each wait
``template``      a message that was rendered once, with places to fill in
``trials``        messages that are rendered to make a template
``encoding``      how messages are written
``instruments``   who sees or changes a message on its way to the broker
``scheduled``     an entry as instruments of beat want to see it
``quiet``         a message that no instrument sees, and what they would have been handed
``parts``         what instruments are handed of a template's messages
``instrumented``  a template's message on its way past the instruments
``refusals``      why there is no template
``reasons``       why messages are rendered one by one: said once, and counted
``headers``       by which a message tells its worker what it is
"""
